package throttle

import (
	"context"
	"log/slog"
	"time"
)

// Hooks are functions that a limiter calls as things happen, in the manner of net/http/httptrace. Any may be nil. They
// run on the goroutine of the call they tell of, or of the store's answer, outside of all locks: a slow one slows those,
// a panicking one is caught and logged by slog.Default. They must not change the maps they are given.
type Hooks struct {
	// WaitStarted: a call has to wait.
	WaitStarted func(WaitInfo)
	// WaitEnded: a call that waited was granted (Err nil) or gave up.
	WaitEnded func(WaitInfo)
	// Acquired: a usage was reserved.
	Acquired func(AcquiredInfo)
	// Refused: a call that doesn't wait, or could never be granted, was refused.
	Refused func(RefusedInfo)
	// Settled: a reservation was settled or cancelled, or a usage recorded.
	Settled func(SettledInfo)
	// StateMissing: the store had no state where there must have been some: it was flushed, restarted without
	// persistence, or evicted the key. Every bucket starts full again.
	StateMissing func(StateMissingInfo)
	// ClockStepped: the store's clock moved against this process's by more than a second. A step back mints nothing; a
	// step forward refills at most a burst.
	ClockStepped func(ClockSteppedInfo)
	// StoreError: the driver failed.
	StoreError func(StoreErrorInfo)
	// StoreAnswered: the driver answered.
	StoreAnswered func(StoreAnsweredInfo)
}

// WaitInfo tells of a call that waits.
type WaitInfo struct {
	Model, Family, Flow string
	Priority            int
	Usage               Usage
	// Resource and Per are the quota that binds, where it is known; empty while the family is paused.
	Resource string
	Per      time.Duration
	// Expected is how much longer it will take, nothing else happening; WaitStarted only.
	Expected time.Duration
	// Place is where in the family's line the process stands, 1 for the front; WaitStarted only.
	Place int
	// Waited and Err are how it ended; WaitEnded only.
	Waited time.Duration
	Err    error
}

// AcquiredInfo tells of a grant.
type AcquiredInfo struct {
	Model, Family, Flow string
	Usage               Usage
	Waited              time.Duration
}

// RefusedInfo tells of a refusal. Err is a [*CapacityError], [*TooLargeError], [*DeadlineError] or [*FullError].
type RefusedInfo struct {
	Model, Family, Flow string
	Usage               Usage
	Err                 error
}

// SettledInfo tells of a settlement, in units of each resource.
type SettledInfo struct {
	Model, Family, Flow string
	// Reserved is nil for [Limiter.Record].
	Reserved, Used Usage
	// Refunded is what went back, Debt what was used beyond the reservation.
	Refunded, Debt Usage
}

// StateMissingInfo tells of a state that was lost.
type StateMissingInfo struct {
	Family string
	// Until is when, by the store's clock, the state would have equalled an absent one.
	Until time.Time
}

// ClockSteppedInfo tells of a store's clock that was set. Step is positive for a step forward.
type ClockSteppedInfo struct {
	Family string
	Step   time.Duration
}

// StoreErrorInfo tells of a failed round trip. Families is how many families it was about.
type StoreErrorInfo struct {
	Families int
	Took     time.Duration
	Err      error
}

// StoreAnsweredInfo tells of a round trip: how many families and operations were in the batch.
type StoreAnsweredInfo struct {
	Families, Operations int
	Took                 time.Duration
}

// fire calls a hook, if there is one, and survives its panic.
func fire[T any](hook func(T), info T) {
	if hook == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			slog.Error("throttle: a hook panicked", "panic", p)
		}
	}()
	hook(info)
}

// SlogHooks returns hooks that log to l: waits, grants and settlements at debug level, refusals at info, a missing state
// and a stepped clock at warn, a store's errors at error. Model and flow names are logged, requests never are.
func SlogHooks(l *slog.Logger) *Hooks {
	debug := func(msg string, args ...any) { l.Log(context.Background(), slog.LevelDebug, msg, args...) }
	return &Hooks{
		WaitStarted: func(i WaitInfo) {
			debug("throttle: wait started", "model", i.Model, "family", i.Family, "flow", i.Flow, "usage", i.Usage,
				"resource", i.Resource, "per", i.Per, "expected", i.Expected, "place", i.Place)
		},
		WaitEnded: func(i WaitInfo) {
			debug("throttle: wait ended", "model", i.Model, "family", i.Family, "flow", i.Flow, "waited", i.Waited, "err", i.Err)
		},
		Acquired: func(i AcquiredInfo) {
			debug("throttle: acquired", "model", i.Model, "family", i.Family, "flow", i.Flow, "usage", i.Usage, "waited", i.Waited)
		},
		Refused: func(i RefusedInfo) {
			l.Info("throttle: refused", "model", i.Model, "family", i.Family, "flow", i.Flow, "usage", i.Usage, "err", i.Err)
		},
		Settled: func(i SettledInfo) {
			debug("throttle: settled", "model", i.Model, "family", i.Family, "flow", i.Flow, "reserved", i.Reserved,
				"used", i.Used, "refunded", i.Refunded, "debt", i.Debt)
		},
		StateMissing: func(i StateMissingInfo) {
			l.Warn("throttle: the store lost a family's state", "family", i.Family, "until", i.Until)
		},
		ClockStepped: func(i ClockSteppedInfo) {
			l.Warn("throttle: the store's clock stepped", "family", i.Family, "step", i.Step)
		},
		StoreError: func(i StoreErrorInfo) {
			l.Error("throttle: store error", "families", i.Families, "took", i.Took, "err", i.Err)
		},
	}
}
