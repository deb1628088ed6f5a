package throttle

import (
	"sync"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// localCall is what one direct call to a driver needs. They are kept for reuse, so that a granted call allocates its
// reservation and nothing else; the operation is filled in where it is, since copying one costs as much as applying it.
type localCall struct {
	costs    costs
	given    *costs // what they were before adjust brought them to another plan; nil if it didn't
	ops      [1]bucket.Op
	results  [1]bucket.Result
	request  driver.Request
	response driver.Response
	settled  SettledInfo // for the hook
}

var localCalls = sync.Pool{New: func() any {
	c := new(localCall)
	c.request.Ops, c.response.Results = c.ops[:], c.results[:]
	return c
}}

// newLocalCall takes a call whose operation is of the given kind, without costs yet. No operation it did before has left
// another field set.
func newLocalCall(kind bucket.Kind, flow string, weight float64) *localCall {
	c := localCalls.Get().(*localCall)
	op := &c.ops[0]
	if op.Flow != flow {
		op.Flow = flow
	}
	op.Kind, op.Weight, op.Priority = kind, weight, 0
	return c
}

func (c *localCall) free() {
	if c.given != nil {
		c.given = nil
	}
	localCalls.Put(c)
}

// asGiven is the costs, in the order of the plan that the call was made under.
func (c *localCall) asGiven() *costs {
	if c.given != nil {
		return c.given
	}
	return &c.costs
}

// apply carries out the operation, with the costs, on a driver that lives in the process.
func (c *localCall) apply(f *family, p *plan) (*bucket.Result, error) {
	// What is there already isn't written again: while the garbage collector runs, writing a pointer is dear.
	op := &c.ops[0]
	if cost := c.costs.slice(); len(cost) != len(op.Cost) || len(cost) > 0 && &cost[0] != &op.Cost[0] {
		op.Cost = cost
	}
	if c.request.Key != f.name {
		c.request.Key = f.name
	}
	if c.request.Limits != p.limits {
		c.request.Limits = p.limits
	}
	err := f.local.ApplyLocal(&c.request, &c.response)
	return &c.results[0], err
}

// direct carries out the operation on a driver in the process, and looks after those who wait for what it frees.
func (c *localCall) direct(f *family, p *plan, doing string) error {
	// A call that begins to wait after this look finds busy at 0 and is looked after twice: nobody is hurt.
	waited := f.waiting.Load() > 0
	if waited {
		f.busy.Add(1)
	}
	res, err := c.apply(f, p)
	if waited {
		f.busy.Add(-1)
	}
	if err == nil {
		err = opError(res)
	}
	if f.waiting.Load() > 0 {
		f.freed()
	}
	if err != nil {
		return f.storeError(doing, err)
	}
	return nil
}

// adjust carries out the operation, whose costs were given under plan p, and returns once the store has it.
func (f *family) adjust(c *localCall, p *plan, doing string) error {
	if now := f.plan.Load(); now != p {
		given := c.costs
		c.given, c.costs = &given, given.under(p, now)
		p = now
	}
	if f.limiter.local == nil {
		op := c.ops[0]
		op.Cost = append([]float64(nil), c.costs.slice()...)
		_, err := f.run(op, p, doing)
		return err
	}
	return c.direct(f, p, doing)
}
