package redis

import (
	"fmt"
	"math"

	"pgregory.net/rapid"

	"github.com/tokenthrottle/throttle/bucket"
)

// generator draws requests that interact: few names, few limits, instants that mostly go on.
type generator struct {
	limits []*bucket.Limits
	now    bucket.Micros
	// frugal sequences ask for little, so that they stay on the quick path; others fill the line.
	frugal bool
	named  []drawn
	serial int
}

// drawn is a request and its parts.
type drawn struct {
	request bucket.Request
	parts   [][]bucket.Op
}

const start = bucket.Micros(1_800_000_000_000_000)

func newGenerator(rt *rapid.T) *generator {
	g := &generator{now: start + bucket.Micros(rapid.Int64Range(0, 1e12).Draw(rt, "start")), frugal: rapid.Bool().Draw(rt, "frugal")}
	for range rapid.IntRange(1, 3).Draw(rt, "limit sets") {
		g.limits = append(g.limits, drawLimits(rt))
	}
	return g
}

func drawLimits(rt *rapid.T) *bucket.Limits {
	resources := []string{"requests", "tokens", "tok", "ünits", "a", "b"}
	pers := []bucket.Micros{1, bucket.Second, bucket.Minute, bucket.Minute, bucket.Hour, bucket.Day, 7, bucket.MaxSpan}
	var quotas []bucket.Quota
	seen := map[bucket.Quota]bool{}
	for range rapid.IntRange(0, 4).Draw(rt, "quotas") {
		q := bucket.Quota{
			Resource: rapid.SampledFrom(resources).Draw(rt, "resource"),
			Per:      rapid.SampledFrom(pers).Draw(rt, "per"),
		}
		if seen[q] {
			continue
		}
		seen[q] = true
		q.Limit = units(rt, "limit")
		if rapid.Bool().Draw(rt, "has burst") {
			q.Burst = units(rt, "burst")
		}
		quotas = append(quotas, q)
	}
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		rt.Fatal(err)
	}
	return l
}

// units draws a limit: round, crooked, tiny or huge.
func units(rt *rapid.T, label string) float64 {
	return rapid.OneOf(
		rapid.SampledFrom([]float64{1, 7, 10, 60, 100, 1000, 2e6, 0.1, 1.0 / 3, 1e-9, bucket.MaxUnits, 1.5e-308, math.SmallestNonzeroFloat64}),
		rapid.Float64Range(0.5, 1000),
	).Draw(rt, label)
}

// request draws what to apply, in parts, and when.
func (g *generator) request(rt *rapid.T) (bucket.Micros, *bucket.Request, [][]bucket.Op) {
	g.now = max(1, g.now+bucket.Micros(rapid.OneOf(
		rapid.Int64Range(0, 2_000_000),
		rapid.Int64Range(0, 2_000_000),
		rapid.Int64Range(-5_000_000, 70_000_000),
		rapid.SampledFrom([]int64{0, 1, int64(bucket.Minute), int64(bucket.Hour), int64(bucket.Day), -int64(bucket.Hour), 1 << 50}),
	).Draw(rt, "elapsed")))
	g.now = min(g.now, bucket.MaxInstant+10)
	if len(g.named) > 0 && rapid.IntRange(0, 5).Draw(rt, "repeat") == 0 {
		old := rapid.SampledFrom(g.named).Draw(rt, "old")
		r := old.request
		g.retry(rt, &r)
		return g.now, &r, old.parts
	}
	r := &bucket.Request{Limits: rapid.SampledFrom(g.limits).Draw(rt, "limits")}
	if !g.frugal && rapid.IntRange(0, 20).Draw(rt, "nil limits") == 0 {
		r.Limits = nil
	}
	var parts [][]bucket.Op
	for range min(3, rapid.IntRange(1, 6).Draw(rt, "parts")) {
		var ops []bucket.Op
		for i := range rapid.IntRange(0, 4).Draw(rt, "ops") {
			op := g.op(rt, r.Limits)
			if i == 0 && len(parts) > 0 {
				op.After = false // its answer would depend on another request's
			}
			ops = append(ops, op)
		}
		parts = append(parts, ops)
		r.Ops = append(r.Ops, ops...)
		if rapid.IntRange(0, 3).Draw(rt, "enough") > 0 {
			break
		}
	}
	g.name(rt, r)
	if r.Batch != "" && len(parts) == 1 {
		g.named = append(g.named, drawn{*r, parts})
		g.retry(rt, r)
	}
	return g.now, r, parts
}

// retry draws whether and since when.
func (g *generator) retry(rt *rapid.T, r *bucket.Request) {
	if rapid.IntRange(0, 3).Draw(rt, "retry") == 0 {
		r.Retry = true
		r.Since = max(0, g.now-bucket.Micros(rapid.Int64Range(-1_000_000, 62_000_000).Draw(rt, "since")))
	}
}

// name draws a name that no other request has, or none.
func (g *generator) name(rt *rapid.T, r *bucket.Request) {
	clients := []string{"a", "b", "aa", "x/a", "", "1"}
	switch n := rapid.IntRange(0, 9).Draw(rt, "naming"); {
	case n == 0 && !g.frugal:
	case n <= 2:
		g.serial++
		odd := rapid.SampledFrom([]string{"slashless%d", "a/%d/", "/%d", "b//%d", "ü/ü%d"}).Draw(rt, "odd name")
		r.Batch = fmt.Sprintf(odd, g.serial)
	default:
		g.serial++
		client := rapid.SampledFrom(clients).Draw(rt, "client")
		if n > 6 {
			client = "c" + string(rune('a'+rapid.IntRange(0, 20).Draw(rt, "many clients")))
		}
		if g.frugal || rapid.Bool().Draw(rt, "long") { // as package driver's are; the quick way leaves short ones alone
			client = "a client of many, " + client
		}
		r.Batch = fmt.Sprintf("%s/%d", client, g.serial)
	}
}

func (g *generator) op(rt *rapid.T, l *bucket.Limits) bucket.Op {
	usual := []bucket.Kind{bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Adjust, bucket.Record}
	all := append([]bucket.Kind{
		bucket.Leave, bucket.SetLimit, bucket.ClearLimit, bucket.Block, bucket.Observe, bucket.Peek, bucket.Rebase, 0, 11, 255,
	}, usual...)
	kinds := all
	if g.frugal || rapid.Bool().Draw(rt, "usual") {
		kinds = usual
	}
	if g.frugal && rapid.IntRange(0, 30).Draw(rt, "odd") == 0 {
		kinds = all
	}
	o := bucket.Op{
		Kind:  rapid.SampledFrom(kinds).Draw(rt, "kind"),
		After: rapid.IntRange(0, 5).Draw(rt, "after") == 0,
		Flow:  rapid.SampledFrom([]string{"", "", "f", "g", "flöw"}).Draw(rt, "flow"),
	}
	if l == nil {
		l, _ = bucket.NewLimits()
	}
	switch o.Kind {
	case bucket.Acquire, bucket.Adjust, bucket.Record:
		g.costs(rt, l, &o)
	case bucket.Leave:
		o.Place = rapid.SampledFrom([]string{"p", "q", "r", ""}).Draw(rt, "place")
	case bucket.SetLimit, bucket.ClearLimit, bucket.Observe:
		o.Quota = rapid.IntRange(-1, l.Len()).Draw(rt, "quota")
		o.Limit = units(rt, "limit")
		if rapid.Bool().Draw(rt, "zero") {
			o.Burst = units(rt, "burst")
			if o.Kind == bucket.Observe {
				o.Limit = 0
			}
		}
		o.Level = rapid.SampledFrom([]float64{0, 1, 5.5, -3, math.NaN(), math.Inf(1), 1e15, -1e15, math.Copysign(0, -1)}).Draw(rt, "level")
		if o.Kind == bucket.Observe && o.Quota >= 0 && o.Quota < l.Len() && rapid.Bool().Draw(rt, "own limit") {
			o.Limit = l.Quota(o.Quota).Limit
		}
	case bucket.Block:
		o.Span = bucket.Micros(rapid.SampledFrom([]int64{0, -1, 1, 1000, 1_000_000, 90_000_000, int64(bucket.MaxSpan), int64(bucket.MaxSpan) + 1}).Draw(rt, "span"))
	}
	return o
}

func (g *generator) costs(rt *rapid.T, l *bucket.Limits, o *bucket.Op) {
	for _, resource := range l.Resources() {
		c := rapid.OneOf(rapid.Just(0.0), rapid.Just(1.0), rapid.Float64Range(0, 10), rapid.SampledFrom([]float64{math.Copysign(0, -1), 0.1, 1e15, math.SmallestNonzeroFloat64})).Draw(rt, "cost")
		i := l.Find(resource, bucket.Minute)
		if i >= 0 && rapid.Bool().Draw(rt, "of burst") {
			c = l.Quota(i).Burst * rapid.Float64Range(0, 0.7).Draw(rt, "part")
		}
		if o.Kind == bucket.Adjust && rapid.Bool().Draw(rt, "negative") {
			c = -c
		}
		o.Cost = append(o.Cost, c)
	}
	if n := rapid.IntRange(0, 12).Draw(rt, "vector"); n == 0 {
		o.Cost = append(o.Cost, 1) // too long
	} else if n <= 2 && len(o.Cost) > 0 {
		o.Cost = o.Cost[:len(o.Cost)-1] // a tail is missing
	}
	o.Weight = rapid.SampledFrom([]float64{0, 0, 1, 2, 0.5, 1e6, 1e-6, 3e6, -1}).Draw(rt, "weight")
	if g.frugal {
		o.Weight = 1
	}
	if o.Kind != bucket.Acquire {
		return
	}
	if rapid.IntRange(0, 3).Draw(rt, "waits") > 0 {
		o.Place = rapid.SampledFrom([]string{"p", "q", "r", "s", "t", "ü", "bad\n"}).Draw(rt, "place")
	}
	o.Priority = rapid.SampledFrom([]int32{0, 0, 0, 1, -1, math.MaxInt32, math.MinInt32}).Draw(rt, "priority")
	o.Poll = bucket.Micros(rapid.SampledFrom([]int64{0, -1, 1000, 100_000, 1_000_000, 10_000_000}).Draw(rt, "poll"))
	o.Grace = bucket.Micros(rapid.SampledFrom([]int64{0, 1, 1000, 1_000_000, 30_000_000, -1}).Draw(rt, "grace"))
}
