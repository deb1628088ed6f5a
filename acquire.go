package throttle

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Acquire reserves usage of every resource it names, all or nothing, and waits in line until it fits. The reservation is
// to be settled when it is known what was really used.
//
// Calls of one flow and priority are granted in the order they came. A call whose ctx ends leaves the line and returns
// ctx's error at once; what it was granted in that instant goes back.
//
// Errors: ctx's; [*TooLargeError] for what can never fit, [*UsageError], [*ModelError] and [*ArgumentError] for what
// can't be asked, all at once and without waiting; [*FullError], [ErrClosed], [*StoreError]; with [FailFast] a
// [*DeadlineError].
func (l *Limiter) Acquire(ctx context.Context, model string, usage Usage, options ...CallOption) (*Reservation, error) {
	for {
		f, p, c, err := l.begin(ctx, model, options)
		if err != nil {
			return nil, err
		}
		if p.unlimited {
			return &Reservation{amounts: Amounts{plan: p}, model: model}, nil
		}
		r, err := f.acquire(ctx, p, c, model, usage)
		if err != errDropped { // else the family was idle, and forgotten just now
			return r, err
		}
		l.families.settled()
	}
}

// TryAcquire reserves usage if it fits now, without taking anything from those who wait. Otherwise it returns a
// [*CapacityError], which says what binds and when to try again. The other errors are Acquire's: also a call that waits
// for a slow store ends with ctx, and what it is granted then goes back.
func (l *Limiter) TryAcquire(ctx context.Context, model string, usage Usage, options ...CallOption) (*Reservation, error) {
	f, p, c, err := l.begin(ctx, model, options)
	if err != nil {
		return nil, err
	}
	if p.unlimited {
		return &Reservation{amounts: Amounts{plan: p}, model: model}, nil
	}
	return f.try(ctx, p, c, model, usage)
}

// try asks once.
func (f *family) try(ctx context.Context, p *plan, c *call, model string, usage Usage) (*Reservation, error) {
	var cost costs
	if err := cost.set(p, usage); err != nil {
		return nil, err.of(model, f)
	}
	var res bucket.Result
	if err := f.ask(ctx, p, c, &cost, &res); err != nil {
		return nil, err
	}
	if res.Status == bucket.Granted {
		return f.reservation(p, c, model, &cost).acquired(ctx), nil
	}
	var err error
	switch res.Status {
	case bucket.Refused:
		e := newCapacityError()
		e.fill(model, f, p, &res)
		err = e
	case bucket.TooLarge:
		err = f.inForce(ctx, p, tooLarge(model, f, p, &cost, &res))
	default:
		return nil, f.storeError("acquire", opError(&res))
	}
	f.refused(ctx, p, c, model, &cost, err)
	return nil, err
}

// ask asks without a place in the line.
func (f *family) ask(ctx context.Context, p *plan, c *call, cost *costs, res *bucket.Result) (err error) {
	if f.limiter.local == nil {
		op := bucket.Op{Kind: bucket.Acquire, Cost: slices.Clone(cost.slice()), Flow: c.flow, Weight: c.weight, Priority: c.priority}
		*res, err = f.run(ctx, op, p, "acquire")
		return err
	}
	op := bucket.Op{Kind: bucket.Acquire, Cost: cost.slice(), Flow: c.flow, Weight: c.weight, Priority: c.priority}
	if err := driver.Do(f.limiter.local, f.local, p.limits, &op, res); err != nil {
		return f.storeError("acquire", err)
	}
	return nil
}

// acquire asks and, if it must, waits.
func (f *family) acquire(ctx context.Context, p *plan, c *call, model string, usage Usage) (*Reservation, error) {
	var cost costs
	if err := cost.set(p, usage); err != nil {
		return nil, err.of(model, f)
	}
	if f.limiter.local != nil && (f.waiting.Load() == 0 || !f.queued(c)) {
		var res bucket.Result
		if err := f.ask(ctx, p, c, &cost, &res); err != nil {
			return nil, err
		}
		switch res.Status {
		case bucket.Granted:
			return f.reservation(p, c, model, &cost).acquired(ctx), nil
		case bucket.TooLarge:
			err := f.inForce(ctx, p, tooLarge(model, f, p, &cost, &res))
			f.refused(ctx, p, c, model, &cost, err)
			return nil, err
		}
	}
	return f.wait(ctx, c, f.reservation(p, c, model, &cost))
}

// queued says whether calls of the same flow and priority wait already: a newcomer goes behind them.
func (f *family) queued(c *call) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.laneOf(c) != nil
}

// wait puts a call into its lane until its fate is decided.
func (f *family) wait(ctx context.Context, c *call, r *Reservation) (*Reservation, error) {
	w := f.limiter.newWaiter(ctx, r)
	w.failFast = c.failFast
	w.deadline, _ = ctx.Deadline()
	f.limiter.notifier.start(f.limiter)
	err := f.enqueue(w, c)
	if err != nil && f.limiter.local != nil && errors.As(err, new(*DeadlineError)) {
		f.look() // what those ahead were told may be out of date
		if err = f.enqueue(w, c); err != nil {
			f.pump()
		}
	}
	if err != nil {
		if err != errDropped && err != ErrClosed {
			f.refused(ctx, r.amounts.plan, c, r.model, &r.amounts.costs, err)
		}
		return nil, err
	}
	if w.told.Load() {
		f.tellQueued(w)
	}
	if ctx.Done() == nil {
		f.pumpHere()
	} else {
		f.pump()
	}
	err = f.await(ctx, w)
	if err != nil {
		var large *TooLargeError
		if errors.As(err, &large) {
			err = f.inForce(ctx, r.amounts.plan, large)
		}
	}
	if w.told.Load() {
		if w.notice != nil {
			w.notice.tell()
		}
		if hook := f.limiter.hooks.Load().WaitEnded; hook != nil {
			tell(hook, ctx, w.ended(c, err))
		}
	}
	if err != nil {
		if refusal(err) {
			f.refused(ctx, r.amounts.plan, c, r.model, &r.amounts.costs, err)
		}
		return nil, err
	}
	if f.limiter.local == nil && !w.told.Load() {
		r.course.setWaited(0) // that was the round trip
	}
	f.limiter.free(w)
	return r.acquired(ctx), nil
}

// tellQueued tells the hook of a call that has come behind others, unless it was granted meanwhile.
func (f *family) tellQueued(w *waiter) {
	f.mu.Lock()
	info, waits := WaitInfo{}, w.lane != nil
	if waits {
		info = w.info()
	} else {
		w.told.Store(false)
	}
	f.mu.Unlock()
	if waits {
		tell(f.limiter.hooks.Load().WaitStarted, w.ctx, info)
	}
}

// refusal says whether an error is one that the Refused hook is told of.
func refusal(err error) bool {
	var tooLarge *TooLargeError
	var full *FullError
	return errors.Is(err, ErrNoCapacity) || errors.As(err, &tooLarge) || errors.As(err, &full)
}

// reservation makes the reservation of a call.
func (f *family) reservation(p *plan, c *call, model string, cost *costs) *Reservation {
	return &Reservation{family: f, call: c, amounts: Amounts{p, *cost}, model: model}
}

// acquired tells the hook of a grant.
func (r *Reservation) acquired(ctx context.Context) *Reservation {
	if hook := r.family.limiter.hooks.Load().Acquired; hook != nil {
		tell(hook, ctx, AcquiredInfo{Call{r}, r.Waited()})
	}
	return r
}

// refused tells the hook of a refusal.
func (f *family) refused(ctx context.Context, p *plan, c *call, model string, cost *costs, err error) {
	if hook := f.limiter.hooks.Load().Refused; hook != nil {
		tell(hook, ctx, RefusedInfo{Call{f.reservation(p, c, model, cost)}, err})
	}
}

// newWaiter takes a waiter from the limiter's own pool: a channel that another limiter's test has made in a synctest
// bubble can't be used outside of it.
func (l *Limiter) newWaiter(ctx context.Context, r *Reservation) *waiter {
	w, ok := l.spare.Get().(*waiter)
	if !ok {
		w = &waiter{done: make(chan error, 1)}
	}
	w.ctx, w.reservation, w.started, w.binding = ctx, r, time.Now(), -1
	return w
}

// free makes a waiter that was granted ready for reuse: nobody else knows it any more, and done is empty.
func (l *Limiter) free(w *waiter) {
	w.ctx, w.reservation, w.failFast, w.notice = nil, nil, false, nil
	w.told.Store(false)
	l.spare.Put(w)
}

// refusals hands out errors for refused calls from blocks of some, so that a program that is refused all the time
// doesn't allocate all the time.
var refusals = sync.Pool{New: func() any { return new([]CapacityError) }}

func newCapacityError() *CapacityError {
	block := refusals.Get().(*[]CapacityError)
	if len(*block) == 0 {
		*block = make([]CapacityError, 32)
	}
	e := &(*block)[0]
	*block = (*block)[1:]
	refusals.Put(block)
	return e
}

func (e *CapacityError) fill(model string, f *family, p *plan, res *bucket.Result) {
	e.Model, e.Family, e.RetryAfter, e.Place = model, f.name, res.RetryAfter.Duration(), res.Place
	if res.Quota >= 0 {
		q := p.limits.Quota(res.Quota)
		e.Resource, e.Per = q.Resource, q.Per.Duration()
	}
}

// tooLarge makes the error of a call that can never be granted.
func tooLarge(model string, f *family, p *plan, cost *costs, res *bucket.Result) *TooLargeError {
	q := p.limits.Quota(res.Quota)
	e := &TooLargeError{
		Model: model, Family: f.name, Resource: q.Resource, Per: q.Per.Duration(),
		Usage: cost.slice()[p.limits.ResourceOf(res.Quota)], Burst: q.Burst,
	}
	if e.Usage <= q.Burst {
		e.Burst = 0 // it is another burst that is in force
	}
	return e
}

// inForce asks the store whether the burst that an error names is the one in force: its answer didn't say. If the store
// doesn't tell, the error stays as it is.
func (f *family) inForce(ctx context.Context, p *plan, e *TooLargeError) error {
	if e.Burst == 0 {
		return e
	}
	res, err := f.run(ctx, bucket.Op{Kind: bucket.Peek}, p, "peek at")
	if err != nil {
		return e
	}
	for i := range res.State.Buckets {
		b := &res.State.Buckets[i]
		if b.Resource == e.Resource && b.Per.Duration() == e.Per && b.OverLimit > 0 {
			e.Burst = 0
		}
	}
	return e
}

// of says whose usage was at fault.
func (e *UsageError) of(model string, f *family) *UsageError {
	e.Model, e.Family = model, f.name
	return e
}

// AcquireFor counts request with the model's [Counter], adds extra (nil for nothing) and acquires the sum. A model
// without a counter gives a [*ModelError] that matches [ErrNoCounter].
func (l *Limiter) AcquireFor(ctx context.Context, model string, request any, extra Usage, options ...CallOption) (*Reservation, error) {
	if l.err != nil {
		return nil, l.err
	}
	m, err := l.models(ctx, model)
	if err != nil {
		return nil, &ModelError{model, err}
	}
	if m.Unlimited {
		return l.Acquire(ctx, model, nil, options...)
	}
	if m.Counter == nil {
		return nil, &ModelError{model, ErrNoCounter}
	}
	counted, err := m.Counter(ctx, model, request)
	if err != nil {
		return nil, &ModelError{model, err}
	}
	if len(extra) > 0 {
		sum := make(Usage, len(counted)+len(extra))
		for r, amount := range counted {
			sum[r] = amount
		}
		for r, amount := range extra {
			sum[r] += amount
		}
		counted = sum
	}
	return l.Acquire(ctx, model, counted, options...)
}

// Do acquires usage, calls fn, and settles with the usage that fn returns; nil means that all of it was used. It settles
// also if fn returns an error or panics (with nil, since the provider may have charged): return Usage{"requests": 0, …}
// for a call that was never made. The error is Acquire's, or fn's, or Settle's, joined.
func (l *Limiter) Do(ctx context.Context, model string, usage Usage, fn func(context.Context) (Usage, error), options ...CallOption) (err error) {
	if fn == nil {
		return &ArgumentError{"fn", nil, "a function"}
	}
	r, err := l.Acquire(ctx, model, usage, options...)
	if err != nil {
		return err
	}
	var actual Usage
	defer func() { err = errors.Join(err, r.Settle(ctx, actual)) }()
	actual, err = fn(ctx)
	return err
}

// Record debits usage without asking, for what was used already: levels may go below zero, and the debt is paid off by
// refill before anything is granted. Errors: [*UsageError], [*ModelError], [*StoreError]. Like Settle it works after ctx
// has ended, and waits for the store as long.
func (l *Limiter) Record(ctx context.Context, model string, usage Usage, options ...CallOption) error {
	ctx = context.WithoutCancel(ctx)
	f, p, c, err := l.begin(ctx, model, options)
	if err != nil || p.unlimited {
		return err
	}
	var cost costs
	if err := cost.set(p, usage); err != nil {
		return err.of(model, f)
	}
	if err := f.adjust(bucket.Record, c, &cost, p, "record"); err != nil {
		return err
	}
	if hook := l.hooks.Load().Settled; hook != nil {
		tell(hook, ctx, SettledInfo{Call: Call{f.reservation(nil, c, model, &costs{})}, Used: Amounts{p, cost}})
	}
	return nil
}
