package bucket_test

import (
	"fmt"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// TestRandomFleets holds the rules over many fleets of random processes, flows, costs, refunds, cancels, deaths,
// clock steps and limit changes.
func TestRandomFleets(t *testing.T) {
	for seed := range uint64(fleets) {
		c := newChaos(t, seed)
		if c.live(); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type chaos struct {
	*fleet
	t    *testing.T
	seed uint64
	// shadow are buckets that know nothing but the bound: what can be there at most, at the state's time.
	shadow []shadowBucket
	then   bucket.Micros
}

type shadowBucket struct{ level, limit, per, burst float64 }

func newChaos(t *testing.T, seed uint64) *chaos {
	quotas := []bucket.Quota{
		{Resource: "tokens", Limit: 60_000, Per: 5 * second},
		{Resource: "requests", Limit: 100, Per: 5 * second, Burst: 20},
		{Resource: "tokens", Limit: 1e9, Per: bucket.Day, Burst: 100_000},
	}
	c := &chaos{fleet: newFleet(seed, nil), t: t, seed: seed}
	c.limits = mustLimits(t, quotas[:1+c.IntN(3)]...)
	c.checked = c.check
	for i := range c.limits.Len() {
		q := c.limits.Quota(i)
		c.shadow = append(c.shadow, shadowBucket{q.Burst, q.Limit, float64(q.Per), q.Burst})
	}
	for range 1 + c.IntN(7) {
		c.add(c.someone())
	}
	return c
}

func (c *chaos) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("seed %d, after %v: %s", c.seed, (c.now - epoch).Duration(), fmt.Sprintf(format, args...))
}

// someone is a random process.
func (c *chaos) someone() process {
	tokens := c.limits.Resource("tokens")
	largest := []float64{50, 2000, 30_000, 60_000}[c.IntN(4)]
	kept := c.Float64()
	p := process{
		together: 1 + c.IntN(4),
		flow:     []string{"", "production", "batch"}[c.IntN(3)], weight: []float64{0, 0.5, 3}[c.IntN(3)], priority: int32(c.IntN(4) / 3),
		poll: []bucket.Micros{200 * ms, second, 5 * second}[c.IntN(3)], grace: 100*ms + bucket.Micros(c.IntN(int(3*second))),
		cost: func() []float64 {
			cost := make([]float64, len(c.limits.Resources()))
			for r := range cost {
				cost[r] = 1
			}
			cost[tokens] = float64(c.IntN(int(largest)))
			return cost
		},
		uses: func(reserved []float64) []float64 {
			used := append([]float64(nil), reserved...)
			used[tokens] *= kept * c.between(0, 1.3) // beyond what was reserved, too
			return used
		},
		latency: func() bucket.Micros { return bucket.Micros(c.IntN(int(3 * second))) },
	}
	if c.IntN(3) > 0 {
		p = c.every(p, c.between(0.1, 4))
	}
	return p
}

// live runs the fleet, disturbs it, and then lets it come to rest.
func (c *chaos) live() {
	for range 20 {
		c.run(bucket.Micros(c.IntN(int(second))))
		c.disturb()
	}
	c.closing = true
	for i := range c.limits.Len() {
		c.apply(bucket.Op{Kind: bucket.ClearLimit, Quota: i})
	}
	c.apply(bucket.Op{Kind: bucket.Block, Span: 0})
	for left := 2*c.demand() + 5*minute; left > 0 && !c.idle(); left -= 10 * second {
		c.run(10 * second)
	}
	c.run(minute) // the last calls end, and the leases of the dead
	c.apply()
	if !c.idle() || len(c.state.Line) > 0 || len(c.state.Flows) > 0 || c.state.Virtual != 0 {
		c.errorf("the fleet doesn't come to rest: %s", c.state.Encode(nil))
	}
	at := c.state.AbsentAt()
	if at == bucket.Forever || c.state.Absent(at-1) || !c.state.Absent(at) {
		c.errorf("absent at %d: %s", at, c.state.Encode(nil))
	}
	c.state.Apply(at, &bucket.Request{Limits: c.limits}, nil)
	for i := range c.state.Buckets {
		if b := &c.state.Buckets[i]; apply(c.state.Clone(), at, c.limits, bucket.Op{Kind: bucket.Peek})[0].State.Buckets[i].Level != b.Cap() {
			c.errorf("bucket %d isn't full in the end: %+v", i, b)
		}
	}
}

// demand is how long the slowest bucket takes to refill what is still asked for.
func (c *chaos) demand() bucket.Micros {
	longest := 0.0
	for i := range c.limits.Len() {
		sum := -min(0, c.state.Buckets[i].Level)
		for _, p := range c.processes {
			for _, caller := range p.queue {
				if !p.dead {
					sum += caller.cost[c.limits.ResourceOf(i)]
				}
			}
		}
		longest = max(longest, sum*float64(c.limits.Quota(i).Per)/c.limits.Quota(i).Limit)
	}
	return bucket.Micros(longest)
}

func (c *chaos) idle() bool {
	for _, p := range c.processes {
		if !p.dead && len(p.queue) > 0 {
			return false
		}
	}
	return true
}

// disturb does one thing that happens in real life.
func (c *chaos) disturb() {
	p := c.processes[c.IntN(len(c.processes))]
	quota := c.IntN(c.limits.Len())
	q := c.limits.Quota(quota)
	switch c.IntN(12) {
	case 0:
		p.die()
		c.add(c.someone())
	case 1, 2, 3:
		p.cancel()
	case 4:
		c.apply(bucket.Op{Kind: bucket.SetLimit, Quota: quota, Limit: q.Limit * c.between(0.2, 3)})
	case 5:
		c.apply(bucket.Op{Kind: bucket.ClearLimit, Quota: quota})
	case 6:
		c.apply(bucket.Op{Kind: bucket.Block, Span: bucket.Micros(c.IntN(int(2*second)) - int(second/2))})
	case 7:
		c.apply(bucket.Op{Kind: bucket.Observe, Quota: quota, Level: q.Burst * c.Float64(), Limit: q.Limit * float64(c.IntN(3)) / 2})
	case 8:
		c.apply(bucket.Op{Kind: bucket.Record, Cost: p.cost(), Flow: p.flow})
	case 9:
		c.skew += bucket.Micros(c.IntN(int(20*second)) - int(10*second))
	case 10:
		c.apply(bucket.Op{Kind: bucket.Rebase})
	case 11:
		for _, p := range c.processes { // the network stalls
			p.timer++
			c.at(c.now+bucket.Micros(c.IntN(int(4*second))), p.ask)
		}
	}
}

// check holds one request to the rules. Limits change in requests of their own.
func (c *chaos) check(now bucket.Micros, ops []bucket.Op, results []bucket.Result) {
	s := &c.state
	rebased := len(ops) > 0 && ops[0].Kind == bucket.Rebase
	if s.At > max(now, c.then) || s.At < c.then && !rebased {
		c.errorf("the state's time went from %d to %d at %d", c.then, s.At, now)
	}
	c.refill(s.At)
	for i := range ops {
		c.follow(&ops[i], &results[i])
		if r := results[i]; r.Status == bucket.Refused && (r.RetryAfter <= 0 || r.Place < 1) || r.Status == bucket.Invalid || r.Status == 0 {
			c.errorf("%+v gives %+v", ops[i], r)
		}
	}
	for i := range s.Buckets {
		b, most := &s.Buckets[i], &c.shadow[i]
		most.limit, most.burst = b.Rate(), b.Cap()
		most.level = min(most.level, most.burst)
		if b.Level > b.Cap() {
			c.errorf("bucket %d: level %v above its burst %v", i, b.Level, b.Cap())
		}
		if b.Level > most.level+slop(most) {
			c.errorf("bucket %d: level %v, of which only %v can be there", i, b.Level, most.level)
		}
	}
	if len(s.Line) == 0 && (len(s.Flows) > 0 || s.Virtual != 0 || s.Arrivals != 0) {
		c.errorf("tags without a line: %+v", s)
	}
	if len(s.Line) > len(c.processes) {
		c.errorf("%d places of %d processes", len(s.Line), len(c.processes))
	}
	if c.IntN(32) == 0 {
		checkStored(c.t, string(s.Encode(nil)))
	}
}

// slop is for rounding, which adds up over a thousand requests.
func slop(b *shadowBucket) float64 { return 1e-8 * max(b.burst, 1) }

// refill fills the shadow up to the state's time.
func (c *chaos) refill(t bucket.Micros) {
	for i := range c.shadow {
		b := &c.shadow[i]
		if c.then > 0 {
			b.level = min(b.burst, b.level+b.limit*float64(max(0, t-c.then))/b.per)
		}
	}
	c.then = t
}

// follow does to the shadow what an operation did to the buckets.
func (c *chaos) follow(o *bucket.Op, r *bucket.Result) {
	for i := range c.shadow {
		b, cost := &c.shadow[i], 0.0
		if k := c.limits.ResourceOf(i); k < len(o.Cost) {
			cost = o.Cost[k]
		}
		switch {
		case r.Status == bucket.Granted || o.Kind == bucket.Record:
			b.level -= cost
		case o.Kind == bucket.Adjust:
			b.level = min(b.level+cost, b.burst)
		case o.Kind == bucket.Observe && o.Quota == i:
			b.level = min(b.level, o.Level)
		}
		if r.Status == bucket.Granted && cost > 0 && b.level < -slop(b) {
			c.errorf("bucket %d: granted %v beyond the bound, by %v", i, cost, -b.level)
		}
	}
}
