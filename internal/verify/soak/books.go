package main

import "sync"

// books are what the callers know of the hot family's tokens.
type books struct {
	mu sync.Mutex
	// granted, credited and owed were answered; a credit in maybe has an unknown outcome.
	granted, credited, owed, maybe float64
	operations, failed, came       int
	firstFailure                   string
}

// note counts a call, and whether the store failed it.
func (b *books) note(err error, change func(*books)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.operations++
	if change != nil {
		change(b)
	}
	if err != nil {
		b.failed++
		if b.firstFailure == "" {
			b.firstFailure = err.Error()
		}
	}
}

// counts are the calls so far, and the keys that came.
func (b *books) counts() (operations, failed, came int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.operations, b.failed, b.came
}

// judge compares what was used, and what is left, with all there was: a burst and what refilled. Minted is what there is
// beyond that; lost is what refilled while the bucket was full or went to a call that never heard of it.
func (b *books) judge(level, allowed float64) (minted, lost float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := b.granted - b.credited + b.owed + level - allowed
	// A credit that may have been given is not minted; each number is rounded, some 1e-9 of it.
	return max(0, rest-b.maybe-1e-6*allowed), max(0, -rest)
}
