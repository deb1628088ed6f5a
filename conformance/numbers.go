package conformance

import (
	"fmt"
	"math"
	"strings"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// numbers are the clauses about quantities and names that are hard to store.
func numbers() []clause {
	return []clause{
		{name: "numbers/invalid", quote: "Invalid: a field is outside its range; nothing changed.", test: invalidChangesNothing},
		{name: "numbers/exact", quote: "For each request it reads the state of a key, calls [bucket.State.Apply], and writes the state back", test: numbersAreExact},
		{name: "numbers/names", quote: "ValidName says whether a resource, flow or place name may be used: 1 to [MaxName] bytes of UTF-8 without control characters.", test: namesAreKept},
		{name: "numbers/large", quote: "MaxQuotas is the largest number of quotas a [Limits] holds.", test: largeStates},
	}
}

func invalidChangesNothing(p *probe) {
	d := p.open()
	l := limits(still("requests", 10), still("tokens", 100))
	m := newModel()
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(3, 30), wait("place", 8)}})
	for _, limits := range []*bucket.Limits{l, nil} {
		for i, op := range invalidOps(limits) {
			r := p.one(d, "k", limits, op, peekOp)
			if got := r.Results[0].Status; got != bucket.Invalid {
				p.errorf("invalid operation %d, %+v: status is %v, want %v", i, op, got, bucket.Invalid)
			}
			for _, w := range m.follow([]driver.Request{{Key: "k", Limits: limits, Ops: []bucket.Op{op, peekOp}}}, []driver.Response{r}) {
				p.errorf("after the invalid operation %+v: %s", op, w)
			}
			if p.failed() {
				return
			}
		}
	}
	// What is at the edge of a range is inside it.
	for _, op := range []bucket.Op{
		acquire(), acquire(0), acquire(0, 0), acquire(math.Copysign(0, -1)), record(5e-324), record(bucket.MaxUnits, 1), adjust(bucket.MaxUnits, -bucket.MaxUnits),
		{Kind: bucket.Acquire, Weight: 1e6}, {Kind: bucket.Observe, Level: math.NaN()}, {Kind: bucket.Observe, Level: -bucket.MaxUnits},
		{Kind: bucket.Block, Span: math.MinInt64}, {Kind: bucket.SetLimit, Limit: bucket.MaxUnits, Burst: bucket.MaxUnits}, {Kind: bucket.ClearLimit},
	} {
		p.following(m, d, driver.Request{Key: "edge", Limits: l, Ops: []bucket.Op{op, peekOp}})
	}
}

func numbersAreExact(p *probe) {
	d := p.open()
	m := newModel()
	quotas := []bucket.Quota{
		{Resource: "big", Limit: bucket.MaxUnits, Per: bucket.MaxSpan},
		{Resource: "fast", Limit: bucket.MaxUnits, Per: 1, Burst: 1},
		{Resource: "slow", Limit: 1e-9, Per: bucket.MaxSpan, Burst: 1e-9},
		{Resource: "tiny", Limit: math.SmallestNonzeroFloat64 * 1e10, Per: bucket.Day, Burst: 1},
		{Resource: "third", Limit: 1.0 / 3, Per: bucket.Second, Burst: 1e6 + 1.0/3},
		{Resource: "seven", Limit: 7, Per: bucket.Second},
	}
	for _, q := range quotas {
		l := limits(q)
		for _, part := range []float64{1.0 / 3, 0.1, math.Nextafter(1, 0), 1, 1e-17} {
			p.following(m, d, driver.Request{Key: q.Resource, Limits: l, Ops: []bucket.Op{acquire(q.Burst * part), acquire(q.Limit * part), peekOp}})
			p.following(m, d, driver.Request{Key: q.Resource, Limits: l, Ops: []bucket.Op{record(q.Limit * part), adjust(-q.Limit / 7), adjust(1.0 / 7), peekOp}})
		}
		p.following(m, d, driver.Request{Key: q.Resource, Limits: l, Ops: []bucket.Op{record(bucket.MaxUnits), acquire(q.Limit), peekOp}}) // a debt
		p.following(m, d, driver.Request{Key: q.Resource, Limits: l, Ops: []bucket.Op{adjust(0.7), wait("place", min(q.Limit, 1e-9)), peekOp}})
		p.following(m, d, driver.Request{Key: q.Resource, Limits: l, Ops: []bucket.Op{{Kind: bucket.Block, Span: bucket.MaxSpan}, acquire(0), peekOp}})
	}
	p.following(m, d, driver.Request{Key: "block", Ops: []bucket.Op{{Kind: bucket.Block, Span: 1}, {Kind: bucket.Block, Span: bucket.MaxSpan}, acquire(), peekOp}})
}

func namesAreKept(p *probe) {
	d := p.open()
	m := newModel()
	names := []string{
		"a", "a b", `"`, `\`, `\n`, `\u0000`, "'", "`", "<&>", "{}", "[]", ":", ",", "|", ";", "%s", "$1", "日本語", "🪣", "\u2028", "\ufffd", "e\u0301", "null", "1e5",
		strings.Repeat("n", bucket.MaxName), strings.Repeat("🪣", bucket.MaxName/4),
	}
	for i, name := range names {
		l := limits(bucket.Quota{Resource: name, Limit: 10, Per: bucket.Hour}, bucket.Quota{Resource: name, Limit: 100, Per: bucket.Day})
		op := wait(name, 4)
		op.Flow = names[(i+1)%len(names)]
		second := wait(name+"2"[:min(1, bucket.MaxName-len(name))], 3)
		second.Flow = name
		for range 2 {
			p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(8), op, second, peekOp}})
		}
		p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{{Kind: bucket.Leave, Place: op.Place}, {Kind: bucket.Leave, Place: second.Place}, peekOp}})
	}
}

func largeStates(p *probe) {
	d := p.open()
	m := newModel()
	quotas := make([]bucket.Quota, bucket.MaxQuotas)
	cost := make([]float64, bucket.MaxQuotas)
	for i := range quotas {
		quotas[i] = bucket.Quota{Resource: fmt.Sprintf("%s-%02d", strings.Repeat("r", bucket.MaxName-3), i), Limit: 100.0 / 3, Per: bucket.Hour}
		cost[i] = 10
	}
	l := limits(quotas...)
	var ops []bucket.Op
	for i := range 100 {
		ops = append(ops, wait(fmt.Sprint("place-", i), cost...))
	}
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: ops})
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{peekOp, adjust(cost...), ops[90], ops[3], peekOp}})
}
