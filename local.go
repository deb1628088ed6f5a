package throttle

import (
	"context"
	"slices"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// direct carries out an operation that isn't an acquire on a driver in the process, and looks after those who wait for
// what it frees.
func (f *family) direct(op *bucket.Op, p *plan, res *bucket.Result) error {
	// A call that begins to wait after this look finds busy at 0 and is looked after twice: nobody is hurt.
	waited := f.waiting.Load() > 0
	if waited {
		f.busy.Add(1)
	}
	err := driver.Do(f.limiter.local, f.local, p.limits, op, res)
	if waited {
		f.busy.Add(-1)
	}
	if err == nil {
		err = opError(res)
	}
	if f.waiting.Load() > 0 {
		f.freed(err == nil && driver.Frees(op, res))
	}
	return err
}

// adjust carries out an operation of the given kind, with costs that were given under plan p, and returns once the store
// has it.
func (f *family) adjust(kind bucket.Kind, c *call, cost *costs, p *plan, doing string) error {
	if now := f.plan.Load(); now != p {
		under := cost.under(p, now)
		cost, p = &under, now
	}
	if f.limiter.local == nil {
		_, err := f.run(context.Background(), bucket.Op{Kind: kind, Cost: slices.Clone(cost.slice()), Flow: c.flow, Weight: c.weight}, p, doing)
		return err
	}
	op := bucket.Op{Kind: kind, Cost: cost.slice(), Flow: c.flow, Weight: c.weight}
	var res bucket.Result
	if err := f.direct(&op, p, &res); err != nil {
		return f.storeError(doing, err)
	}
	return nil
}
