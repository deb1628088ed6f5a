package fallback

import (
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// outage is a time in which the store is down. It is guarded by its driver's lock.
type outage struct {
	open     bool
	parts    float64 // how many processes share each quota; it stays, since leases run out meanwhile
	began    bucket.Micros
	accounts map[string]*account // by key
	timer    *time.Timer         // to the next attempt
	ending   chan struct{}       // not nil while the store is told the last of it, and calls wait; closed after
}

// begin notes that the store is down.
func (d *fallback) begin(err error) {
	d.mu.Lock()
	begins := d.outage == nil && !d.closed
	if begins {
		o := &outage{open: d.open, parts: float64(d.processes.seen), began: d.clock.now(), accounts: map[string]*account{}}
		if d.opts.Processes > 0 {
			o.parts = float64(d.opts.Processes)
		}
		o.timer = time.AfterFunc(d.opts.Retry, func() { d.probe(o) }) // no goroutine while it waits
		d.outage = o
	}
	d.mu.Unlock()
	if begins && d.opts.OnChange != nil {
		d.opts.OnChange(err)
	}
}

// probe finds out whether the store is back, and if so ends the outage. Calls go on beside it, since a store may as well
// hang as fail; they wait only for the very last that it is told, once it has answered all the rest.
func (d *fallback) probe(o *outage) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return
	}
	d.probes.Add(1)
	d.mu.Unlock()
	defer d.probes.Done()

	// First what does no harm again and again, if all that is lost is the answers.
	sign, err := d.send(d.life, []driver.Request{d.processes.sign()})
	if err == nil {
		err = d.tell(o, true)
	}
	if err == nil {
		d.mu.Lock()
		o.ending = make(chan struct{})
		d.mu.Unlock()
		err = d.tell(o, false)
	}

	d.mu.Lock()
	if o.ending != nil {
		close(o.ending)
		o.ending = nil
	}
	switch {
	case err == nil:
		d.processes.seeAgain(sign[0].Waiting)
		d.outage = nil
	case !d.closed:
		o.sweep(d.clock.now())
		o.timer.Reset(d.opts.Retry)
	}
	d.mu.Unlock()
	if err == nil && d.opts.OnChange != nil {
		d.opts.OnChange(nil)
	}
}

// toldAtOnce is how many keys the store is told of in one batch, so that it can be done in time however many there are.
const toldAtOnce = 256

// tell tells the store what it has missed so far. With peek it asks for the keys of which it has missed nothing, since a
// store may hang with one key and not with another.
func (d *fallback) tell(o *outage, peek bool) error {
	d.mu.Lock()
	keys := slices.Collect(maps.Keys(o.accounts))
	d.mu.Unlock()
	for some := range slices.Chunk(keys, toldAtOnce) {
		var claims []claim
		var batch []driver.Request
		d.mu.Lock()
		for _, key := range some {
			c, requests := o.accounts[key].take(key, d.clock.now())
			if peek && len(requests) == 0 {
				requests = []driver.Request{{Key: key, Ops: []bucket.Op{{Kind: bucket.Peek}}}}
			}
			claims, batch = append(claims, c), append(batch, requests...)
		}
		d.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if _, err := d.send(d.life, batch); err != nil {
			d.mu.Lock()
			for i := range claims {
				claims[i].putBack(errors.Is(err, driver.ErrUnknownOutcome))
			}
			d.mu.Unlock()
			return err
		}
	}
	return nil
}

// sweep drops the accounts of which there is nothing to tell, and which will begin as they are now.
func (o *outage) sweep(now bucket.Micros) {
	maps.DeleteFunc(o.accounts, func(_ string, a *account) bool { return a.idle(now) })
}

// apply serves a batch.
func (o *outage) apply(now bucket.Micros, batch []driver.Request) []driver.Response {
	responses := make([]driver.Response, len(batch))
	for i := range batch {
		r := &batch[i]
		a := o.account(r, now)
		results := make([]bucket.Result, len(r.Ops))
		for j := range r.Ops {
			op := r.Ops[j]
			switch {
			case op.After && (j == 0 || results[j-1].Status != bucket.Granted):
				results[j].Status = bucket.Skipped
			case !op.Valid(r.Limits):
				results[j].Status = bucket.Invalid
			default:
				op.After = false
				o.do(a, now, r.Limits, &op, &results[j])
			}
		}
		// Absent or not, it is the store's state that matters, and nothing is known of that.
		responses[i] = driver.Response{Now: now, Results: results, AbsentAt: now, Waiting: len(a.state.Line)}
	}
	return responses
}

// account returns the account of a request's key, with a bucket for each of the request's quotas.
func (o *outage) account(r *driver.Request, now bucket.Micros) *account {
	a := o.accounts[r.Key]
	if a == nil {
		a = new(account)
		o.accounts[r.Key] = a
	}
	if r.Limits == nil || r.Limits == a.limits {
		return a
	}
	a.adopt(r.Limits)
	if o.open {
		return a
	}
	a.share = o.share(r.Limits)
	// A bucket was empty when the outage began: what it could hold may have been used before.
	var empty []bucket.Op
	for i := range a.share.Len() {
		if q := a.share.Quota(i); find(&a.state, q) == nil {
			refilled := max(0, q.Limit*float64(now-o.began)/float64(q.Per))
			empty = append(empty, bucket.Op{Kind: bucket.Observe, Quota: i, Level: min(q.Burst, refilled)})
		}
	}
	a.state.Apply(now, &bucket.Request{Limits: a.share, Ops: empty}, make([]bucket.Result, len(empty)))
	return a
}

// share is this process's part of limits.
func (o *outage) share(limits *bucket.Limits) *bucket.Limits {
	quotas := make([]bucket.Quota, limits.Len())
	for i := range quotas {
		q := limits.Quota(i)
		q.Limit, q.Burst = o.part(q.Limit), o.part(q.Burst)
		quotas[i] = q
	}
	share, err := bucket.NewLimits(quotas...)
	if err != nil {
		panic("driver/fallback: a part of valid limits is not valid: " + err.Error())
	}
	return share
}

// part is this process's part of a number of units. What is more than nothing stays so.
func (o *outage) part(units float64) float64 {
	if units > 0 {
		return max(units/o.parts, math.SmallestNonzeroFloat64)
	}
	return units / o.parts
}

// do carries out a valid operation under limits, which may be nil.
func (o *outage) do(a *account, now bucket.Micros, limits *bucket.Limits, op *bucket.Op, res *bucket.Result) {
	if o.open {
		grant(limits, op, res)
		if op.Kind == bucket.Block {
			a.state.Do(now, nil, op, res)
		}
		a.control(op)
		return
	}
	share := a.share
	if limits == nil {
		share = nil
	}
	switch op.Kind {
	case bucket.Acquire:
		o.acquire(a, now, limits, share, op, res)
	case bucket.SetLimit, bucket.Observe:
		part := *op
		part.Limit, part.Burst, part.Level = o.part(op.Limit), o.part(op.Burst), o.part(op.Level)
		a.state.Do(now, share, &part, res)
	default:
		a.state.Do(now, share, op, res)
	}
	a.control(op)
	a.count(op, res)
}

// acquire grants from the share. It may cost as much as the whole quotas hold: what is more than the share holds is
// debited as soon as the rest is granted, so that the share makes nothing impossible, and doesn't grow for it.
func (o *outage) acquire(a *account, now bucket.Micros, limits, share *bucket.Limits, op *bucket.Op, res *bucket.Result) {
	held, rest := *op, bucket.Op{Kind: bucket.Record, Flow: op.Flow, Weight: op.Weight}
	for r, cost := range op.Cost {
		for i := range share.Len() {
			if share.ResourceOf(i) != r {
				continue
			}
			b := find(&a.state, share.Quota(i))
			if cost > o.whole(limits.Quota(i), b) {
				if op.Place != "" {
					a.state.Do(now, share, &bucket.Op{Kind: bucket.Leave, Place: op.Place}, res)
				}
				res.Status, res.Quota = bucket.TooLarge, i
				return
			}
			if held.Cost[r] <= b.Cap() {
				continue
			}
			if rest.Cost == nil {
				held.Cost, rest.Cost = slices.Clone(op.Cost), make([]float64, len(op.Cost))
			}
			held.Cost[r], rest.Cost[r] = b.Cap(), cost-b.Cap()
		}
	}
	a.state.Do(now, share, &held, res)
	if res.Status == bucket.Granted && rest.Cost != nil {
		a.state.Do(now, share, &rest, new(bucket.Result))
	}
}

// whole is the burst of a quota, in units, whose part is b's: its own, or the override's. That was divided, and is rounded
// up here, lest what costs as much be refused for ever.
func (o *outage) whole(q bucket.Quota, b *bucket.Bucket) float64 {
	if b.OverLimit > 0 {
		return float64(b.OverBurst*o.parts) * (1 + 1e-12)
	}
	return q.Burst
}

// grant answers an operation as if there were no limits.
func grant(limits *bucket.Limits, op *bucket.Op, res *bucket.Result) {
	res.Status = bucket.Done
	switch op.Kind {
	case bucket.Acquire:
		res.Status = tooLarge(limits, op, res)
	case bucket.Peek:
		res.State = new(bucket.State)
	}
}

// tooLarge keeps refusing what could not be granted with the store either.
func tooLarge(l *bucket.Limits, op *bucket.Op, res *bucket.Result) bucket.Status {
	if l == nil {
		return bucket.Granted
	}
	for i := range l.Len() {
		if r := l.ResourceOf(i); r < len(op.Cost) && op.Cost[r] > l.Quota(i).Burst {
			res.Quota = i
			return bucket.TooLarge
		}
	}
	return bucket.Granted
}
