package main

import (
	"sync"
	"time"
)

// ledger is what the callers know for certain of what was taken and given back, and what they don't.
type ledger struct {
	mu sync.Mutex
	// granted and credited were answered; maybeGranted and maybeCredited have an unknown outcome.
	granted, credited, maybeGranted, maybeCredited float64
	operations, failed                             int
	lastSuccess                                    map[int]time.Time // of each caller
	firstSuccess                                   map[int]time.Time // since mark
	mark                                           time.Time
}

func newLedger() *ledger {
	return &ledger{lastSuccess: map[int]time.Time{}, firstSuccess: map[int]time.Time{}}
}

// note adds what a caller saw.
func (l *ledger) note(caller int, ok bool, change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.operations++
	if change != nil {
		change(l)
	}
	if !ok {
		l.failed++
		return
	}
	now := time.Now()
	l.lastSuccess[caller] = now
	if _, seen := l.firstSuccess[caller]; !seen && !l.mark.IsZero() {
		l.firstSuccess[caller] = now
	}
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
