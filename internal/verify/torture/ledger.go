package main

import (
	"errors"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
)

// ledger is what the callers know for certain of what was taken and given back, and what they don't.
type ledger struct {
	mu sync.Mutex
	// granted and credited were answered; maybeGranted and maybeCredited have an unknown outcome. All of them are of the
	// family whose books are kept; tight is what was granted of the other.
	granted, credited, maybeGranted, maybeCredited, tight float64
	operations, failed                                    int
	calls                                                 []span            // those that took long
	firstSuccess                                          map[int]time.Time // of each caller since mark
	mark                                                  time.Time
	answers                                               []answer // all of them
	failures                                              []span   // all calls that failed

	isOut  bool // the store is down
	outage struct {
		granted, failed int
		tight           float64
		foreign         error // a call's that isn't a *throttle.StoreError
	}
}

// span is from when to when.
type span struct{ from, to time.Time }

// takesLong is what a call must take to be remembered.
const takesLong = 100 * time.Millisecond

// longest is the longest that a call took, without the time in which this process stood still.
func (l *ledger) longest(stood []span) (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.calls {
		longest = max(longest, c.without(stood))
	}
	return longest
}

// without is how long a span is without what of others lies in it.
func (s span) without(others []span) time.Duration {
	length := s.to.Sub(s.from)
	for _, o := range others {
		if o.from.Before(s.from) {
			o.from = s.from
		}
		if o.to.After(s.to) {
			o.to = s.to
		}
		length -= max(0, o.to.Sub(o.from))
	}
	return length
}

// answer is what the store has answered, when, and to a call that began when.
type answer struct {
	began, at                time.Time
	granted, credited, tight float64
}

func newLedger() *ledger { return &ledger{firstSuccess: map[int]time.Time{}} }

// fail adds a call that began then and failed.
func (l *ledger) fail(caller int, began time.Time, err error, change func(*ledger)) {
	var store *throttle.StoreError
	l.note(caller, began, nil, func(l *ledger) {
		if l.isOut && !errors.As(err, &store) {
			l.outage.foreign = err
		}
		if change != nil {
			change(l)
		}
	})
}

// note adds what a caller saw of a call that began then; done is what it was answered, if it was.
func (l *ledger) note(caller int, began time.Time, done *answer, change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.operations++
	if now.Sub(began) > takesLong {
		l.calls = append(l.calls, span{began, now})
	}
	if change != nil {
		change(l)
	}
	if done == nil {
		l.failed++
		l.failures = append(l.failures, span{began, now})
		if l.isOut {
			l.outage.failed++
		}
		return
	}
	done.began, done.at = began, now
	l.granted += done.granted
	l.credited += done.credited
	l.tight += done.tight
	l.answers = append(l.answers, *done)
	if l.isOut && done.granted+done.tight > 0 {
		l.outage.granted++
		l.outage.tight += done.tight
	}
	if _, seen := l.firstSuccess[caller]; !seen && !l.mark.IsZero() {
		l.firstSuccess[caller] = now
	}
}

// out says whether the store is down.
func (l *ledger) out(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isOut = is
}

// healed starts the watch for everybody's next success.
func (l *ledger) healed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark = time.Now()
	clear(l.firstSuccess)
}

// recovered says how many callers have succeeded since healed, and how long the last of them took.
func (l *ledger) recovered() (callers int, longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.firstSuccess {
		longest = max(longest, at.Sub(l.mark))
	}
	return len(l.firstSuccess), longest
}

// during is what was answered to calls that were under way in a time.
func (l *ledger) during(s span) (sum answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if !s.to.Before(s.from) && !a.at.Before(s.from) && !a.began.After(s.to) {
			sum.granted, sum.credited, sum.tight = sum.granted+a.granted, sum.credited+a.credited, sum.tight+a.tight
		}
	}
	return sum
}

// judge compares the store's final level with what the callers know. Minted is what the store has beyond the most it can
// have; leaked is what it lacks below what the callers know; and stated is the most that may leak: what was in flight
// with an unknown outcome.
func (l *ledger) judge(burst, level, refilled float64) (minted, leaked, stated float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	certain := burst - l.granted + l.credited
	minted = max(0, level-(certain+l.maybeCredited)-refilled)
	leaked = max(0, certain-level)
	return minted, leaked, l.maybeGranted
}
