package throttle

import (
	"strings"
	"time"
)

// lookout tells those who wait on a driver in the process that their turn has come nearer. What the store said when it
// refused them holds as long as nothing else happens, and a driver that notifies tells only of places that would be
// granted at that instant: not of a credit that covers a part, a limit that was raised, or one ahead who has left.
// The family's lock guards it.
type lookout struct {
	timer  *time.Timer
	next   time.Time // what the timer is set to; zero if it isn't
	last   time.Time // the last look
	wanted bool      // a place was given up or passed on with what the next request does
	replan bool      // the quotas changed: no look at the store tells what they make of it, every lane asks
}

// A family is looked at as soon as this limiter frees something, but not more often than lookRest, since a look costs as
// much as the line is long; and every lookEvery while somebody has long to wait, since another limiter on the same driver
// may have freed something.
const (
	lookRest  = 10 * time.Millisecond
	lookEvery = 100 * time.Millisecond
	lookSlack = time.Millisecond // what isn't nearer than that isn't worth a question
)

// changed looks after those who wait, now or when the last look was lookRest ago. Who calls it pumps afterwards.
func (f *family) changed() {
	f.mu.Lock()
	now := time.Now()
	rest := f.lookout.last.Add(lookRest).Sub(now)
	switch {
	case len(f.lanes) == 0:
		f.mu.Unlock()
	case rest > 0:
		f.lookIn(rest, now)
		f.mu.Unlock()
	default:
		f.lookout.last = now
		f.mu.Unlock()
		f.look()
	}
}

// lookIn sets the timer, unless it will fire sooner. The family is locked.
func (f *family) lookIn(d time.Duration, now time.Time) {
	o, then := &f.lookout, now.Add(d)
	if !o.next.IsZero() && !o.next.After(then) {
		return
	}
	o.next = then
	if o.timer == nil {
		o.timer = time.AfterFunc(d, f.lookAgain)
	} else {
		o.timer.Reset(d)
	}
}

// lookAgain is the timer.
func (f *family) lookAgain() {
	f.mu.Lock()
	f.lookout.next = time.Time{}
	f.lookout.last = time.Now()
	waits := len(f.lanes) > 0
	f.mu.Unlock()
	if waits {
		f.look()
		f.pump()
	}
}

// lookNoMore stops the timer: nobody waits. The family is locked.
func (f *family) lookNoMore() {
	if f.lookout.timer != nil {
		f.lookout.timer.Stop()
		f.lookout.next = time.Time{}
	}
}

// replanned sees to it that those who wait ask under quotas that have changed.
func (f *family) replanned() {
	f.mu.Lock()
	f.lookout.replan = true
	f.mu.Unlock()
	f.changed()
	f.pump()
}

// look marks the lanes whose turn has come nearer than they were told.
func (f *family) look() {
	f.mu.Lock()
	replan := f.lookout.replan
	if replan {
		f.lookout.replan = false
		f.wakeAll()
	}
	f.mu.Unlock()
	if replan {
		return
	}
	expected := f.expected()
	f.mu.Lock()
	defer f.mu.Unlock()
	now, far := time.Now(), false
	for _, ln := range f.lanes {
		if !ln.placed {
			continue // its request is under way
		}
		if d, ok := expected[ln.place]; ok {
			if then := now.Add(d); then.Add(lookSlack).Before(ln.retryAt) {
				ln.due, ln.retryAt = true, then
			}
		}
		far = far || ln.retryAt.Sub(now) > lookEvery
	}
	if far {
		f.lookIn(lookEvery, now)
	}
}

// expected says for each of the limiter's own places in how long it should be granted: never later than it will be, if
// nothing else happens.
func (f *family) expected() map[string]time.Duration {
	l := f.limiter
	s, err := f.local.Lock()
	if err != nil {
		return nil // it was closed, and says so to who asks
	}
	defer f.local.Unlock(false)
	forecasts := s.Expect(l.local.Now())
	expected := make(map[string]time.Duration, len(s.Line))
	for i := range s.Line {
		if place := s.Line[i].ID; strings.HasPrefix(place, l.id) {
			expected[place] = forecasts[i].In.Duration()
		}
	}
	return expected
}
