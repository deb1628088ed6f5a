package throttle

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// family is what a limiter knows of one family: its plan, and who waits here. Its levels are in the store.
type family struct {
	limiter *Limiter
	name    string
	local   driver.Pinned // the driver, if it lives in the process
	plan    atomic.Pointer[plan]
	used    atomic.Bool  // since the last sweep
	waiting atomic.Int64 // calls in lanes
	busy    atomic.Int32 // direct calls under way that look after those who wait when they are through
	dirty   bool         // in the next batch; the flusher's lock guards it

	mu      sync.Mutex
	dropped bool    // from the limiter's map: find the family again
	lanes   []*lane // those with waiters
	tasks   []*task // for the next request
	pumping bool    // a request of this family is under way
	again   bool    // look again after it
	lookout lookout // on a driver in the process

	// What the store's last answer said, to notice a lost state and a clock that steps.
	absentAt  bucket.Micros
	storeNow  bucket.Micros
	answered  time.Time
	mustShift bool // the store's clock was set back: rebase
}

// freed looks again at who waits here, after an operation that may have freed capacity. A driver that notifies has marked
// those who are ready, and the lookout finds those whose turn has come nearer; without one, the head of every lane asks.
func (f *family) freed(frees bool) {
	if !f.limiter.notifier.active() {
		f.mu.Lock()
		f.wakeAll()
		f.mu.Unlock()
	} else if frees {
		f.changed()
	}
	f.pump()
}

func (f *family) wakeAll() {
	for _, ln := range f.lanes {
		ln.due = true
	}
}

// pump sees to it that whatever is due goes to the store: at once, on this goroutine, for a driver in the process;
// otherwise with the flusher's next batch.
func (f *family) pump() {
	if f.limiter.local == nil {
		f.limiter.flusher.add(f.limiter, f, false)
		return
	}
	f.mu.Lock()
	if f.pumping {
		f.again = true
		f.mu.Unlock()
		return
	}
	f.pumping = true
	for {
		f.again = false
		looks := f.lookout.wanted
		f.lookout.wanted = false
		s := f.collect()
		if s == nil && !looks && !f.again {
			f.pumping = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		var hooks []func()
		if s != nil {
			s.response.Results = s.results[:len(s.request.Ops)]
			err := driver.ApplyLocal(f.limiter.local, f.local, s.request.Limits, s.request.Ops, s.response.Results)
			hooks = s.deliver(err, nil)
			looks = looks || err == nil && driver.FreesAny(s.request.Ops, s.response.Results)
			s.free()
		}
		if looks {
			f.changed()
		}
		if len(hooks) > 0 {
			f.handOver()
			for _, hook := range hooks {
				hook()
			}
			return
		}
		f.mu.Lock()
	}
}

// handOver ends the pumping of one who has hooks to call, which may take long or come here themselves. What is due by now
// another goroutine looks after.
func (f *family) handOver() {
	f.mu.Lock()
	f.pumping = false
	goOn := f.again || f.lookout.wanted || f.due()
	f.mu.Unlock()
	if goOn {
		go f.pump()
	}
}

// pumpHere is pump for a caller that waits until the store has answered, whatever happens.
func (f *family) pumpHere() {
	if f.limiter.local == nil {
		f.limiter.flusher.add(f.limiter, f, true)
		return
	}
	f.pump()
}

// drop makes an idle family ready to be forgotten: one unused since the last call, with nothing under way.
func (f *family) drop() bool {
	if f.used.Swap(false) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropped = len(f.lanes) == 0 && len(f.tasks) == 0 && !f.pumping
	return f.dropped
}

// close ends every wait.
func (f *family) close() {
	f.mu.Lock()
	for _, ln := range append([]*lane(nil), f.lanes...) {
		f.failLane(ln, ErrClosed)
	}
	f.mu.Unlock()
	f.pump()
}

func (f *family) storeError(doing string, err error) error {
	return &StoreError{Doing: doing, Family: f.name, Err: err}
}

func isUnknown(err error) bool { return errors.Is(err, driver.ErrUnknownOutcome) }

// errDropped: the family was forgotten between finding and using it.
var errDropped = errors.New("throttle: family was dropped")

// errShortAnswer is a driver's fault.
var errShortAnswer = fmt.Errorf("throttle: the driver answered fewer requests than it was given: %w", driver.ErrUnknownOutcome)

// errRefusedOp is what an operation gets that the arithmetic finds invalid although the limiter let it pass.
var errRefusedOp = errors.New("throttle: operation refused as invalid")

// opError turns the outcome of an op that isn't an acquire into an error.
func opError(r *bucket.Result) error {
	switch r.Status {
	case bucket.Invalid:
		return errRefusedOp
	case bucket.Unknown:
		return driver.ErrUnknownOutcome
	}
	return nil
}

// observeAnswer compares an answer of a shared store with the last one, and adds hooks to be called.
func (f *family) observeAnswer(res *driver.Response, now time.Time, hooks []func()) []func() {
	h := f.limiter.hooks.Load()
	if res.Absent && f.absentAt > res.Now {
		info := StateMissingInfo{Family: f.name, Until: f.absentAt.Time()}
		hooks = append(hooks, func() { fire(h.StateMissing, info) })
	}
	if f.storeNow > 0 {
		step := (res.Now - f.storeNow).Duration() - now.Sub(f.answered)
		if step > maxStep || step < -maxStep {
			info := ClockSteppedInfo{Family: f.name, Step: step}
			hooks = append(hooks, func() { fire(h.ClockStepped, info) })
		}
		// Only this process's clock can tell a clock that was set back from an old answer: time did go on here.
		f.mustShift = f.mustShift || step < -maxStep && res.Now < f.storeNow
	}
	f.absentAt, f.storeNow, f.answered = res.AbsentAt, res.Now, now
	return hooks
}

// maxStep is how far the store's clock may move against ours between two answers before it counts as set. Round trips
// and pauses of either process show as such a difference too, so it is the store timeout's order.
const maxStep = 5 * time.Second
