package throttle

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// Reservation is capacity that was granted: it counts as used until it is settled. One that never is (a crash) counts as
// used for good, since the provider may have charged for it, and comes back only as its buckets refill. Its methods are
// safe for concurrent use.
type Reservation struct {
	family  *family // nil for an unlimited model
	call    *call   // whose flow and weight it has: the limiter's own, unless the call had options
	amounts Amounts
	model   string
	course  course
}

// course is how long a reservation's acquire waited, in nanoseconds above the lowest bit, and in that whether it is
// settled, cancelled, or about to be. It is one word because a reservation of more than 96 bytes costs a fifth more to allocate.
type course struct{ word atomic.Int64 }

func (c *course) waited() time.Duration     { return time.Duration(c.word.Load() >> 1) }
func (c *course) setWaited(d time.Duration) { c.word.Store(int64(d) << 1) } // before anybody else has the reservation

// end returns whether it had ended before.
func (c *course) end() bool { return c.word.Or(1)&1 != 0 }
func (c *course) reopen()   { c.word.And(^1) }

// Model is the name that the reservation was acquired for.
func (r *Reservation) Model() string { return r.model }

// Family is the family that the model belongs to; empty for an unlimited model.
func (r *Reservation) Family() string {
	if r.family == nil {
		return ""
	}
	return r.family.name
}

// Waited is how long the acquire waited.
func (r *Reservation) Waited() time.Duration { return r.course.waited() }

// Reserved is what was reserved, in units; nil for an unlimited model.
func (r *Reservation) Reserved() Usage {
	if r.family == nil {
		return nil
	}
	return r.amounts.costs.usage(r.amounts.plan)
}

// Settle says what was really used: what was not goes back at once, what was used beyond the reservation is owed, and
// the bucket pays it off before it grants again. A resource that actual doesn't name counts as used in full, as reserved,
// and so does everything if actual is nil; name a resource with 0 to get it all back.
//
// Settle works after ctx has ended, so that it can be deferred: ctx gives values, not time. It waits for the store, at
// most two store timeouts: one for the request under way and one for its own. Errors: [ErrSettled] if the reservation was settled or cancelled before, a [*UsageError] for an
// amount out of range or of an unknown resource (it can then be settled again), a [*StoreError]. After a StoreError it
// can be settled again, except where it matches driver.ErrUnknownOutcome.
func (r *Reservation) Settle(ctx context.Context, actual Usage) error {
	if r.course.end() {
		return ErrSettled
	}
	if r.family == nil {
		return nil
	}
	var delta costs
	changed, err := r.delta(&delta, actual)
	if err != nil {
		r.course.reopen()
		return err
	}
	return r.settle(ctx, &delta, changed, "settle")
}

// Cancel gives everything back: the call was never made. It is Settle with 0 of each resource, with the same errors.
func (r *Reservation) Cancel(ctx context.Context) error {
	if r.course.end() {
		return ErrSettled
	}
	if r.family == nil {
		return nil
	}
	return r.settle(ctx, &r.amounts.costs, true, "cancel")
}

// delta fills c with reserved − actual of each resource and says whether any of it is not 0.
func (r *Reservation) delta(c *costs, actual Usage) (changed bool, err error) {
	resources := r.amounts.plan.limits.Resources()
	list := c.reset(len(resources))
	found := 0
	for i, name := range resources {
		amount, ok := actual[name]
		if !ok {
			continue
		}
		found++
		if !(amount >= 0 && amount <= bucket.MaxUnits) {
			return false, &UsageError{Model: r.model, Family: r.family.name, Resource: name, Amount: amount}
		}
		list[i] = r.amounts.costs.slice()[i] - amount
		changed = changed || list[i] != 0
	}
	if found != len(actual) {
		var check costs
		if e := check.set(r.amounts.plan, actual); e != nil {
			e.Model, e.Family = r.model, r.family.name
			return false, e
		}
	}
	return changed, nil
}

// settle applies delta, which is reserved − used.
func (r *Reservation) settle(ctx context.Context, delta *costs, changed bool, doing string) error {
	f := r.family
	if changed {
		if err := f.adjust(bucket.Adjust, r.call, delta, r.amounts.plan, doing); err != nil {
			if !isUnknown(err) {
				r.course.reopen()
			}
			return err
		}
	}
	if hook := f.limiter.hooks.Load().Settled; hook != nil {
		r.tellSettled(ctx, hook, delta)
	}
	return nil
}

// tellSettled tells the hook of a settlement by delta, which is reserved − used.
func (r *Reservation) tellSettled(ctx context.Context, hook func(context.Context, SettledInfo), delta *costs) {
	defer survive()
	i := SettledInfo{Call: Call{r}}
	i.Used.difference(&r.amounts, delta)
	hook(ctx, i)
}
