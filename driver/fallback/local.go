package fallback

import (
	"context"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// usage is what each key was used for while the store was down, and has to be told.
type usage map[string]*outage

type outage struct {
	limits *bucket.Limits     // the real ones
	used   map[string]float64 // net, of each resource
}

// applyLocally serves a batch from memory.
func (d *fallback) applyLocally(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if d.open {
		return d.granted(batch), nil
	}
	d.outageMu.RLock()
	defer d.outageMu.RUnlock()
	share := 1 / float64(d.processes())
	scaled := make([]driver.Request, len(batch))
	for i := range batch {
		scaled[i] = batch[i]
		if batch[i].Limits == nil {
			continue
		}
		limits, err := shareOf(&batch[i], share)
		if err != nil {
			return nil, err
		}
		scaled[i].Limits = limits
		if err := d.begin(ctx, &batch[i], limits); err != nil {
			return nil, err
		}
	}
	responses, err := d.local.Apply(ctx, scaled)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range responses {
		responses[i].Absent = false // it is the store's state that matters, and nothing is known of that
		if o := d.used[batch[i].Key]; o != nil && batch[i].Limits != nil {
			o.count(&batch[i], &responses[i])
		}
	}
	return responses, nil
}

// count adds what a request used.
func (o *outage) count(r *driver.Request, res *driver.Response) {
	for i := range r.Ops {
		sign := 0.0
		switch op := &r.Ops[i]; {
		case op.Kind == bucket.Acquire && res.Results[i].Status == bucket.Granted, op.Kind == bucket.Record:
			sign = 1
		case op.Kind == bucket.Adjust:
			sign = -1
		}
		for j, c := range r.Ops[i].Cost {
			if sign != 0 {
				o.used[r.Limits.Resources()[j]] += sign * c
			}
		}
	}
}

// begin empties a key's local buckets when it is first used in an outage: what they could hold may have been used
// before it.
func (d *fallback) begin(ctx context.Context, r *driver.Request, scaled *bucket.Limits) error {
	d.mu.Lock()
	o := d.used[r.Key]
	if o != nil {
		o.limits = r.Limits
	} else {
		d.used[r.Key] = &outage{limits: r.Limits, used: map[string]float64{}}
	}
	d.mu.Unlock()
	if o != nil {
		return nil
	}
	ops := make([]bucket.Op, scaled.Len())
	for i := range ops {
		ops[i] = bucket.Op{Kind: bucket.Observe, Quota: i, Level: 0}
	}
	_, err := d.local.Apply(ctx, []driver.Request{{Key: r.Key, Limits: scaled, Ops: ops}})
	return err
}

// shareOf scales a request's limits. A burst stays large enough for what the request asks at once, as far as the whole
// quota's is: a share must not make impossible what the quota allows.
func shareOf(r *driver.Request, share float64) (*bucket.Limits, error) {
	largest := make([]float64, len(r.Limits.Resources()))
	for i := range r.Ops {
		if r.Ops[i].Kind == bucket.Acquire {
			for j, c := range r.Ops[i].Cost {
				if j < len(largest) && c > largest[j] {
					largest[j] = c
				}
			}
		}
	}
	quotas := make([]bucket.Quota, r.Limits.Len())
	for i := range quotas {
		q := r.Limits.Quota(i)
		whole := q.Burst
		q.Limit *= share
		q.Burst = min(whole, max(q.Burst*share, largest[r.Limits.ResourceOf(i)]))
		quotas[i] = q
	}
	return bucket.NewLimits(quotas...)
}

// granted answers a batch as if there were no limits.
func (d *fallback) granted(batch []driver.Request) []driver.Response {
	responses := make([]driver.Response, len(batch))
	for i := range batch {
		results := make([]bucket.Result, len(batch[i].Ops))
		for j := range results {
			results[j].Status = bucket.Done
			switch op := &batch[i].Ops[j]; op.Kind {
			case bucket.Acquire:
				results[j].Status = tooLarge(batch[i].Limits, op, &results[j])
			case bucket.Peek:
				results[j].State = new(bucket.State)
			}
		}
		now := d.now()
		responses[i] = driver.Response{Now: now, Results: results, AbsentAt: now}
	}
	return responses
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

// lockDebts returns the requests that tell the store of what was used in an outage, with outageMu held for writing; nil,
// and nothing held, if there is nothing to tell.
//
// For each quota that is the least of two bounds: what was used, since the store's bucket has refilled meanwhile as if
// nothing had been; and what the local bucket lacks, since that was empty at first and so never held more than its part
// of what there really was. Where more was given back than used, of reservations from before the outage, the difference is
// a credit. They go a quota at a time, since the windows of a resource lack different amounts.
func (d *fallback) lockDebts() []driver.Request {
	d.mu.Lock()
	none := len(d.used) == 0
	d.mu.Unlock()
	if none {
		return nil
	}
	d.outageMu.Lock()
	debts := []driver.Request{}
	for key, o := range d.used {
		responses, err := d.local.Apply(context.Background(), []driver.Request{{Key: key, Ops: []bucket.Op{{Kind: bucket.Peek}}}})
		if err != nil {
			continue // closed
		}
		state := responses[0].Results[0].State
		for i := range state.Buckets {
			b := &state.Buckets[i]
			debt := min(o.used[b.Resource], b.Burst-b.Level, bucket.MaxUnits)
			if o.used[b.Resource] < 0 {
				debt = max(o.used[b.Resource], -bucket.MaxUnits)
			}
			q := o.limits.Find(b.Resource, b.Per)
			if q < 0 || debt == 0 {
				continue
			}
			op := bucket.Op{Kind: bucket.Record, Cost: []float64{debt}}
			if debt < 0 {
				op = bucket.Op{Kind: bucket.Adjust, Cost: []float64{-debt}}
			}
			one, err := bucket.NewLimits(o.limits.Quota(q))
			if err != nil {
				continue // it was valid before
			}
			debts = append(debts, driver.Request{Key: key, Limits: one, Ops: []bucket.Op{op}})
		}
	}
	return debts
}

// forget drops what was used in an outage, once the store knows. outageMu is held for writing.
func (d *fallback) forget() {
	d.mu.Lock()
	d.used = usage{}
	d.mu.Unlock()
	_ = d.local.Close() // in memory: nothing to fail
	d.local = memory.New(memory.WithClock(d.now))
}
