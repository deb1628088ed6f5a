package throttle

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// Hooks are functions that a limiter calls as things happen, in the manner of net/http/httptrace. Any may be nil. They
// run outside of all locks, several at a time, and may call the limiter. A panicking one is caught and logged by
// slog.Default. The context is the call's, for its values: it may have ended.
//
// WaitEnded, Acquired, Refused and Settled are called on the goroutine of the call that they tell of, before it returns.
// The others tell of the store's answers. Where the store is outside of the process these are called one at a time, in the
// order of the answers, on the goroutine of any call or on one of the limiter's own, and those whom an answer is for may have
// it before. A WaitStarted is over before its WaitEnded begins. A slow hook delays the call and the hooks behind it; one
// that waits for something, such as capacity, as long as it waits. [Limiter.Close] waits for hooks that are due, at most two
// store timeouts, so a hook that closes its limiter waits as long for itself.
//
// A limiter can be given several: see [WithHooks], [JoinHooks] and [Limiter.Watch].
type Hooks struct {
	// WaitStarted: a call has to wait. It may have been granted since.
	WaitStarted func(context.Context, WaitInfo)
	// WaitEnded: a call that waited was granted (Err nil) or gave up.
	WaitEnded func(context.Context, WaitInfo)
	// Acquired: a usage was reserved.
	Acquired func(context.Context, AcquiredInfo)
	// Refused: a call that doesn't wait, or could never be granted, was refused.
	Refused func(context.Context, RefusedInfo)
	// Settled: a reservation was settled or cancelled, or a usage recorded.
	Settled func(context.Context, SettledInfo)
	// StateMissing: the store had no state where there must have been some: it was flushed, restarted without
	// persistence, or evicted the key. Every bucket starts full again.
	StateMissing func(StateMissingInfo)
	// ClockStepped: the store's clock moved against this process's by more than a few seconds. A step back mints
	// nothing; a step forward refills at most a burst.
	ClockStepped func(ClockSteppedInfo)
	// StoreError: the driver failed.
	StoreError func(StoreErrorInfo)
	// StoreAnswered: the driver answered. A driver that lives in the process ([driver.Local]) isn't told of.
	StoreAnswered func(StoreAnsweredInfo)
}

// Call is the call that a hook is told of. It is as cheap to hand over as a pointer, and may be kept.
type Call struct{ r *Reservation }

// Model is the name that the call was made with.
func (c Call) Model() string { return c.r.model }

// Family is the family that the model belongs to.
func (c Call) Family() string { return c.r.family.name }

// Flow is who shares; see the option [Flow].
func (c Call) Flow() string { return c.r.call.flow }

// Usage is what the call asks for, or has reserved; it has no resources for [Limiter.Record], which reserves nothing.
// It must not be changed.
func (c Call) Usage() *Amounts { return &c.r.amounts }

// WaitInfo tells of a call that waits.
type WaitInfo struct {
	Call
	Priority int
	// Resource and Per are the quota that binds, or, when the wait has ended, bound last; empty while the family is
	// paused and where it isn't known.
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
	Call
	// Waited is how long the call stood in line; 0 if it didn't.
	Waited time.Duration
}

// RefusedInfo tells of a refusal. Err is a [*CapacityError], [*TooLargeError], [*DeadlineError] or [*FullError].
type RefusedInfo struct {
	Call
	Err error
}

// SettledInfo tells of a settlement. Reserved + Debt − Refunded is what was Used.
type SettledInfo struct {
	Call
	Used Amounts
}

// Reserved is what the call had reserved: its Usage.
func (i *SettledInfo) Reserved() *Amounts { return i.Usage() }

// Refunded is what went back: reserved and not used.
func (i *SettledInfo) Refunded() Amounts { return i.Reserved().beyond(&i.Used) }

// Debt is what was used beyond the reservation.
func (i *SettledInfo) Debt() Amounts { return i.Used.beyond(i.Reserved()) }

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
	defer survive()
	hook(info)
}

// tell is fire for the hooks of a call.
func tell[T any](hook func(context.Context, T), ctx context.Context, info T) {
	if hook == nil {
		return
	}
	defer survive()
	hook(ctx, info)
}

func survive() {
	if p := recover(); p != nil {
		slog.Error("throttle: a hook panicked", "panic", p)
	}
}

// JoinHooks returns hooks that call each of hooks in order. Nil ones are left out; a panic in one doesn't keep the next
// from being called.
func JoinHooks(hooks ...*Hooks) *Hooks {
	hooks = slices.DeleteFunc(slices.Clone(hooks), func(h *Hooks) bool { return h == nil })
	if len(hooks) == 1 {
		return hooks[0]
	}
	return &Hooks{
		WaitStarted:   joinCalls(hooks, func(h *Hooks) func(context.Context, WaitInfo) { return h.WaitStarted }),
		WaitEnded:     joinCalls(hooks, func(h *Hooks) func(context.Context, WaitInfo) { return h.WaitEnded }),
		Acquired:      joinCalls(hooks, func(h *Hooks) func(context.Context, AcquiredInfo) { return h.Acquired }),
		Refused:       joinCalls(hooks, func(h *Hooks) func(context.Context, RefusedInfo) { return h.Refused }),
		Settled:       joinCalls(hooks, func(h *Hooks) func(context.Context, SettledInfo) { return h.Settled }),
		StateMissing:  joinEvents(hooks, func(h *Hooks) func(StateMissingInfo) { return h.StateMissing }),
		ClockStepped:  joinEvents(hooks, func(h *Hooks) func(ClockSteppedInfo) { return h.ClockStepped }),
		StoreError:    joinEvents(hooks, func(h *Hooks) func(StoreErrorInfo) { return h.StoreError }),
		StoreAnswered: joinEvents(hooks, func(h *Hooks) func(StoreAnsweredInfo) { return h.StoreAnswered }),
	}
}

// joinCalls joins one hook of each; nil if none has it, so that nothing is prepared for nobody.
func joinCalls[T any](hooks []*Hooks, of func(*Hooks) func(context.Context, T)) func(context.Context, T) {
	var list []func(context.Context, T)
	for _, h := range hooks {
		if hook := of(h); hook != nil {
			list = append(list, hook)
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return func(ctx context.Context, info T) {
		for _, hook := range list {
			tell(hook, ctx, info)
		}
	}
}

func joinEvents[T any](hooks []*Hooks, of func(*Hooks) func(T)) func(T) {
	var list []func(T)
	for _, h := range hooks {
		if hook := of(h); hook != nil {
			list = append(list, hook)
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return func(info T) {
		for _, hook := range list {
			fire(hook, info)
		}
	}
}
