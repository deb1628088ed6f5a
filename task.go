package throttle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// task is an operation that rides in the family's next request. The family's lock guards it.
type task struct {
	op     bucket.Op
	plan   *plan
	result bucket.Result
	done   chan error // nil if nobody waits
	left   bool       // whoever waited has gone while the request was under way
	since  time.Time  // when it came, if somebody waits
	begun  int64      // batches that had begun by then
}

func (t *task) finish(err error) {
	if t.done != nil {
		t.done <- err
	}
}

// run carries out an op through the next request and waits for it: until ctx ends, and at most two store timeouts, one
// for the request under way and one for its own.
func (f *family) run(ctx context.Context, op bucket.Op, p *plan, doing string) (bucket.Result, error) {
	if f.limiter.local != nil {
		var res bucket.Result
		if err := f.direct(&op, p, &res); err != nil {
			return res, f.storeError(doing, err)
		}
		return res, nil
	}
	t := &task{op: op, plan: p, done: make(chan error, 1), since: time.Now()}
	f.mu.Lock()
	t.begun = f.limiter.flusher.begun.Load()
	f.tasks = append(f.tasks, t)
	f.mu.Unlock()
	if ctx.Done() == nil {
		f.pumpHere()
	} else {
		f.pump() // nobody can go away from a request that he sends himself
	}
	select {
	case err := <-t.done:
		return t.answer(f, doing, err)
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.tasks, t); i >= 0 {
		f.tasks = slices.Delete(f.tasks, i, i+1)
		return bucket.Result{}, ctx.Err()
	}
	select {
	case err := <-t.done: // in that very instant
		return t.answer(f, doing, err)
	default:
	}
	t.left = true
	switch op.Kind {
	case bucket.Acquire, bucket.Peek: // what is granted goes back
		return bucket.Result{}, ctx.Err()
	}
	return bucket.Result{}, f.storeError(doing, fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, ctx.Err()))
}

func (t *task) answer(f *family, doing string, err error) (bucket.Result, error) {
	if err != nil {
		return bucket.Result{}, f.storeError(doing, err)
	}
	return t.result, nil
}

// later carries out an op with the next request; nobody waits for it.
func (f *family) later(op bucket.Op, p *plan) {
	f.mu.Lock()
	f.tasks = append(f.tasks, &task{op: op, plan: p})
	f.mu.Unlock()
	f.pump()
}

// back is what undoes a grant that nobody wants any more, under the plan that it was given under.
func (t *task) back(p *plan) *task {
	return &task{plan: p, op: bucket.Op{Kind: bucket.Adjust, Cost: t.op.Cost, Flow: t.op.Flow, Weight: t.op.Weight}}
}

// errNoSuchQuota is what an operation on a quota gets if the quota was removed before the operation was sent.
var errNoSuchQuota = errors.New("throttle: the family has no such quota")

// errBehind is what an operation gets that had to stay behind when a request went without it, since there were too many,
// and that the store takes too long to come to.
var errBehind = errors.New("throttle: not sent: so much waits for the store that it didn't come to it within the store timeout")

// due prepares a task for a request under plan p, or says why it isn't to go.
func (t *task) due(l *Limiter, p *plan) error {
	// The first request that goes after a task has come takes it along, unless there are too many.
	if t.done != nil && l.flusher.begun.Load()-t.begun > 1 && time.Since(t.since) > l.storeTimeout {
		return errBehind
	}
	if t.plan == p {
		return nil
	}
	switch t.op.Kind {
	case bucket.SetLimit, bucket.ClearLimit, bucket.Observe:
		q := t.plan.limits.Quota(t.op.Quota)
		if t.op.Quota = p.limits.Find(q.Resource, q.Per); t.op.Quota < 0 {
			return errNoSuchQuota
		}
		return nil
	}
	c := costs{more: &t.op.Cost}
	if len(t.op.Cost) > 0 {
		c = c.under(t.plan, p)
		t.op.Cost = append([]float64(nil), c.slice()...)
	}
	return nil
}
