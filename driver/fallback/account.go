package fallback

import (
	"math"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// account is one key in an outage: this process's share of it, and what the store is to be told.
type account struct {
	limits *bucket.Limits // the whole ones, as last asked under; nil before
	share  *bucket.Limits // this process's part of them; nil if everything is granted
	at     []*window      // of each quota of limits

	state           bucket.State // of the share; if everything is granted, no more than a block
	windows         []*window    // of all quotas asked under; none is removed
	paused, resumed bool         // a block, or the end of one that the store may have, is to be told
}

// window is what the store is to be told of one quota.
type window struct {
	quota   bucket.Quota // the whole one
	used    float64      // in units; less than 0 if more was given back
	control bucket.Op    // what its limit was set with last; of no kind if it wasn't
}

// adopt makes limits those that the account is used under.
func (a *account) adopt(limits *bucket.Limits) {
	a.limits, a.at = limits, make([]*window, limits.Len())
	for i := range a.at {
		a.at[i] = a.window(limits.Quota(i))
	}
}

// window returns the window of a quota.
func (a *account) window(q bucket.Quota) *window {
	for _, w := range a.windows {
		if w.quota.Resource == q.Resource && w.quota.Per == q.Per {
			w.quota = q
			return w
		}
	}
	w := &window{quota: q}
	a.windows = append(a.windows, w)
	return w
}

// find returns the bucket of a quota, nil if the state has none.
func find(s *bucket.State, q bucket.Quota) *bucket.Bucket {
	for i := range s.Buckets {
		if b := &s.Buckets[i]; b.Resource == q.Resource && b.Per == q.Per {
			return b
		}
	}
	return nil
}

// control notes an operation that is for everybody who uses the key.
func (a *account) control(op *bucket.Op) {
	switch op.Kind {
	case bucket.Block:
		a.paused, a.resumed = a.paused || op.Span > 0, a.resumed || op.Span <= 0
	case bucket.SetLimit, bucket.ClearLimit:
		a.at[op.Quota].control = bucket.Op{Kind: op.Kind, Limit: op.Limit, Burst: op.Burst}
	case bucket.Observe:
		if c := &a.at[op.Quota].control; op.Limit > 0 && op.Limit != c.Limit { // else the limit is that already, with its burst
			*c = bucket.Op{Kind: op.Kind, Limit: op.Limit, Level: math.NaN()}
		}
	}
}

// count adds what an operation used, or takes off what it gave back.
func (a *account) count(op *bucket.Op, res *bucket.Result) {
	sign := 0.0
	switch {
	case res.Status == bucket.Granted, op.Kind == bucket.Record:
		sign = 1
	case op.Kind == bucket.Adjust:
		sign = -1
	default:
		return
	}
	for i, w := range a.at {
		if r := a.limits.ResourceOf(i); r < len(op.Cost) {
			w.used += sign * op.Cost[r]
		}
	}
}

// idle says whether there is nothing to tell, and the account is as one that begins now would be, or better.
func (a *account) idle(now bucket.Micros) bool {
	if a.resumed || !a.state.Absent(now) { // a pause that is to be told is one that lasts
		return false
	}
	for _, w := range a.windows {
		if w.used < 0 || w.control.Kind != 0 { // what was used has refilled
			return false
		}
	}
	return true
}

// claim is what an account held that the store is being told.
type claim struct {
	account         *account
	windows         []window
	paused, resumed bool
}

// take returns the requests that tell the store what it has missed of the key, and counts anew: the store may be told while
// the account is used.
//
// They go a quota at a time, since the windows of a resource lack different amounts, and a block goes first.
func (a *account) take(key string, now bucket.Micros) (claim, []driver.Request) {
	c := claim{account: a, windows: make([]window, len(a.windows)), paused: a.paused, resumed: a.resumed}
	var requests []driver.Request
	var block []bucket.Op
	if a.resumed {
		block = append(block, bucket.Op{Kind: bucket.Block})
	}
	if a.paused && a.state.Blocked > now {
		block = append(block, bucket.Op{Kind: bucket.Block, Span: a.state.Blocked - now})
	}
	if len(block) > 0 {
		requests = append(requests, driver.Request{Key: key, Ops: block})
	}
	a.paused, a.resumed = false, false

	var peek bucket.Result
	a.state.Do(now, nil, &bucket.Op{Kind: bucket.Peek}, &peek)
	for i, w := range a.windows {
		c.windows[i] = *w
		var ops []bucket.Op
		if w.control.Kind != 0 {
			ops = append(ops, w.control)
		}
		if debt := w.debt(peek.State); debt > 0 {
			ops = append(ops, bucket.Op{Kind: bucket.Record, Cost: []float64{debt}})
		} else if debt < 0 {
			ops = append(ops, bucket.Op{Kind: bucket.Adjust, Cost: []float64{-debt}})
		}
		w.used, w.control = 0, bucket.Op{}
		if len(ops) == 0 {
			continue
		}
		if one, err := bucket.NewLimits(w.quota); err == nil { // it was valid before
			requests = append(requests, driver.Request{Key: key, Limits: one, Ops: ops})
		}
	}
	return c, requests
}

// debt is what the store's bucket is to be debited, in units: the least of what was used, since that has refilled
// meanwhile as if nothing had been, and of what the share's bucket lacks, since that was empty at first and so never held
// more than its part of what there really was. Where more was given back than used, of reservations from before the
// outage, the difference is a credit, less than 0.
func (w *window) debt(share *bucket.State) float64 {
	if w.used < 0 {
		return max(w.used, -bucket.MaxUnits)
	}
	b := find(share, w.quota)
	if b == nil {
		return 0 // it was full, and dropped
	}
	return min(w.used, b.Cap()-b.Level, bucket.MaxUnits)
}

// putBack makes a claim of which the store knows nothing, or may not know, one that it is yet to be told. In doubt it was
// told of credits, which must not be made twice, and was not told of debts.
func (c *claim) putBack(unknown bool) {
	a := c.account
	for i := range c.windows {
		was, w := &c.windows[i], a.windows[i]
		if was.used > 0 || !unknown {
			w.used += was.used
		}
		if w.control.Kind == 0 {
			w.control = was.control
		}
	}
	a.paused, a.resumed = a.paused || c.paused, a.resumed || c.resumed
}
