package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// generator makes random work: quotas that refill while the test runs, costs around what the buckets hold, a few places
// and flows that meet again and again, leases that run out.
type generator struct {
	r      *rand.Rand
	keys   []string
	limits []*bucket.Limits
	hard   bool // also operations that are invalid
}

func newGenerator(r *rand.Rand, keys ...string) *generator {
	return &generator{
		r: r, keys: keys, hard: true,
		limits: []*bucket.Limits{
			limits(
				bucket.Quota{Resource: "requests", Limit: 7, Per: bucket.Second},
				bucket.Quota{Resource: "tokens", Limit: 1000, Per: 50_000, Burst: 300},
				bucket.Quota{Resource: "tokens", Limit: 100_000, Per: bucket.Day, Burst: 5000}),
			limits( // the same key after a deploy that changed one quota, dropped one and added one
				bucket.Quota{Resource: "dollars", Limit: 0.3, Per: bucket.Minute},
				bucket.Quota{Resource: "requests", Limit: 11, Per: bucket.Second},
				bucket.Quota{Resource: "tokens", Limit: 1000, Per: 50_000, Burst: 300}),
			limits(bucket.Quota{Resource: "bananas", Limit: 1.0 / 3, Per: 1000, Burst: 2}),
			limits(),
			nil,
		},
	}
}

// batch is up to most requests.
func (g *generator) batch(most int) []driver.Request {
	batch := make([]driver.Request, 1+g.r.IntN(most))
	for i := range batch {
		batch[i] = g.request()
	}
	return batch
}

func (g *generator) request() driver.Request {
	r := driver.Request{Key: g.keys[g.r.IntN(len(g.keys))]}
	// Mostly the same limits, so that their buckets see some history.
	if g.r.IntN(3) > 0 {
		r.Limits = g.limits[0]
	} else {
		r.Limits = g.limits[g.r.IntN(len(g.limits))]
	}
	for range g.r.IntN(4) {
		r.Ops = append(r.Ops, g.op(r.Limits))
	}
	if g.r.IntN(2) == 0 {
		r.Ops = append(r.Ops, bucket.Op{Kind: bucket.Peek})
	}
	return r
}

func (g *generator) op(l *bucket.Limits) bucket.Op {
	if g.hard && g.r.IntN(12) == 0 {
		return g.invalid(l)
	}
	switch n := g.r.IntN(100); {
	case n < 45:
		o := bucket.Op{Kind: bucket.Acquire, Cost: g.cost(l, 1.1), Flow: g.flow(), Priority: int32(g.r.IntN(5) / 4)}
		if g.r.IntN(3) > 0 {
			o.Place = fmt.Sprint("place-", g.r.IntN(5))
			o.Poll = bucket.Micros(g.r.IntN(20_000))
			o.Grace = bucket.Micros(g.r.IntN(3) * 10_000)
		}
		if g.r.IntN(3) == 0 {
			o.Weight = float64(1 + g.r.IntN(4))
		}
		o.After = g.r.IntN(4) == 0
		return o
	case n < 55:
		return bucket.Op{Kind: bucket.Leave, Place: fmt.Sprint("place-", g.r.IntN(5))}
	case n < 75:
		o := bucket.Op{Kind: bucket.Adjust, Cost: g.cost(l, 0.5), Flow: g.flow()}
		for i := range o.Cost {
			if g.r.IntN(3) == 0 {
				o.Cost[i] = -o.Cost[i]
			}
		}
		return o
	case n < 83:
		return bucket.Op{Kind: bucket.Record, Cost: g.cost(l, 0.7), Flow: g.flow()}
	case n < 87:
		return bucket.Op{Kind: bucket.Block, Span: bucket.Micros(g.r.IntN(20_000) - 5000)}
	case n < 91:
		return bucket.Op{Kind: bucket.SetLimit, Quota: g.r.IntN(3), Limit: float64(1 + g.r.IntN(500)), Burst: float64(g.r.IntN(2) * 400)}
	case n < 95:
		return bucket.Op{Kind: bucket.ClearLimit, Quota: g.r.IntN(3)}
	case n < 98:
		o := bucket.Op{Kind: bucket.Observe, Quota: g.r.IntN(3), Level: float64(g.r.IntN(400) - 20)}
		if g.r.IntN(3) == 0 {
			o.Level = math.NaN()
		}
		if g.r.IntN(3) == 0 {
			o.Limit = float64(1 + g.r.IntN(500))
		}
		return o
	}
	return bucket.Op{Kind: bucket.Peek}
}

func (g *generator) flow() string { return []string{"", "batch", "production"}[g.r.IntN(3)] }

// cost is up to part of each resource's smallest burst; now and then exactly all of it.
func (g *generator) cost(l *bucket.Limits, part float64) []float64 {
	if l == nil {
		return nil
	}
	cost := make([]float64, len(l.Resources()))
	for i := range cost {
		burst := math.Inf(1)
		for q := range l.Len() {
			if l.ResourceOf(q) == i {
				burst = min(burst, l.Quota(q).Burst)
			}
		}
		switch g.r.IntN(5) {
		case 0:
		case 1:
			cost[i] = burst
		case 2:
			cost[i] = g.r.Float64() * burst * part
		default:
			cost[i] = math.Floor(g.r.Float64() * burst * part)
		}
	}
	return cost[:len(cost)-g.r.IntN(min(2, len(cost)+1))]
}

// invalid is an operation with a field outside its range.
func (g *generator) invalid(l *bucket.Limits) bucket.Op {
	bad := invalidOps(l)
	return bad[g.r.IntN(len(bad))]
}

// invalidOps has at least one operation for each field and each side of its range.
func invalidOps(l *bucket.Limits) []bucket.Op {
	resources, quotas := 0, 0
	if l != nil {
		resources, quotas = len(l.Resources()), l.Len()
	}
	nan, inf := math.NaN(), math.Inf(1)
	bad := []bucket.Op{
		{},
		{Kind: bucket.Rebase + 1},
		{Kind: 255},
		{Kind: bucket.Acquire, Cost: make([]float64, resources+1)},
		{Kind: bucket.Acquire, Weight: -1}, {Kind: bucket.Acquire, Weight: nan}, {Kind: bucket.Record, Weight: inf}, {Kind: bucket.Adjust, Weight: 2e6},
		{Kind: bucket.Acquire, Flow: "two\nlines"}, {Kind: bucket.Record, Flow: string(make([]byte, bucket.MaxName+1))},
		{Kind: bucket.Acquire, Place: "nul\x00"}, {Kind: bucket.Acquire, Place: "\xff"}, {Kind: bucket.Acquire, Place: "p", Grace: -1},
		{Kind: bucket.Acquire, Place: "p", Poll: bucket.MaxSpan + 1}, {Kind: bucket.Acquire, Place: "p", Grace: bucket.MaxSpan + 1},
		{Kind: bucket.Leave},
		{Kind: bucket.SetLimit, Quota: -1, Limit: 1}, {Kind: bucket.SetLimit, Quota: quotas, Limit: 1}, {Kind: bucket.ClearLimit, Quota: quotas},
		{Kind: bucket.SetLimit, Limit: 0}, {Kind: bucket.SetLimit, Limit: -5}, {Kind: bucket.SetLimit, Limit: nan}, {Kind: bucket.SetLimit, Limit: inf},
		{Kind: bucket.SetLimit, Limit: 2 * bucket.MaxUnits}, {Kind: bucket.SetLimit, Limit: 1, Burst: -1}, {Kind: bucket.SetLimit, Limit: 1, Burst: nan},
		{Kind: bucket.Observe, Level: inf}, {Kind: bucket.Observe, Level: -inf}, {Kind: bucket.Observe, Limit: -1}, {Kind: bucket.Observe, Limit: nan},
		{Kind: bucket.Block, Span: bucket.MaxSpan + 1}, {Kind: bucket.Block, Span: bucket.Forever},
	}
	if resources > 0 {
		for _, c := range []float64{-1, -5e-324, nan, inf, -inf, 2 * bucket.MaxUnits} {
			bad = append(bad, bucket.Op{Kind: bucket.Acquire, Cost: []float64{c}}, bucket.Op{Kind: bucket.Record, Cost: []float64{c}})
		}
		for _, c := range []float64{nan, inf, -inf, 2 * bucket.MaxUnits, -2 * bucket.MaxUnits} {
			bad = append(bad, bucket.Op{Kind: bucket.Adjust, Cost: []float64{c}})
		}
	}
	return bad
}
