package bucket_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/vectors"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew from what the code computes")

const vectorsFile = "testdata/vectors.json"

// TestVectors holds the arithmetic to testdata/vectors.json, bit for bit. Ports of it run the same file.
func TestVectors(t *testing.T) {
	if *update {
		made := append(writtenVectors(), randomVectors()...)
		for i := range made {
			for k, problem := range replay(&made[i], true) {
				t.Errorf("%s, step %d: %s", made[i].Name, k, problem)
			}
		}
		about := []string{
			"Golden vectors of bucket.State.Apply: see package internal/vectors for the format.",
			"Written by: go test ./bucket -run TestVectors -update",
		}
		if err := vectors.Save(vectorsFile, about, made); err != nil {
			t.Fatal(err)
		}
	}
	all, err := vectors.Load(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("%s holds only %d vectors", vectorsFile, len(all))
	}
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			for k, problem := range replay(&v, false) {
				t.Errorf("step %d: %s", k, problem)
			}
		})
	}
}

// TestVectorsCover makes sure that the vectors leave out no operation and no outcome.
func TestVectorsCover(t *testing.T) {
	all, err := vectors.Load(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range all {
		for _, s := range v.Steps {
			for i, o := range s.Ops {
				seen[o.Kind] = true
				seen[s.Want[i].Status] = true
			}
		}
	}
	for k := bucket.Acquire; k.String() != "invalid"; k++ {
		if !seen[k.String()] {
			t.Errorf("no vector has the operation %v", k)
		}
	}
	for s := bucket.Done; s.String() != "none"; s++ {
		if !seen[s.String()] {
			t.Errorf("no vector has the outcome %v", s)
		}
	}
}

// replay runs a vector, against what it wants or, with record, to set that; the state goes through its encoding before
// each step, as it does in a store. It returns what differs, by step.
func replay(v *vectors.Vector, record bool) map[int]string {
	problems := map[int]string{}
	encoded := new(bucket.State).Encode(nil)
	for k := range v.Steps {
		step := &v.Steps[k]
		request, err := step.Request()
		if err != nil {
			problems[k] = err.Error()
			continue
		}
		var state bucket.State
		if err := state.Decode(encoded); err != nil {
			problems[k] = fmt.Sprintf("%v\n%s", err, encoded)
			continue
		}
		results := make([]bucket.Result, len(request.Ops))
		state.Apply(step.Now, request, results)
		encoded = state.Encode(nil)
		got := vectors.ResultsOf(results)
		if record {
			step.Want, step.State, step.Absent = got, bytes.Clone(encoded), state.AbsentAt()
			continue
		}
		a, b := text(got), text(step.Want)
		if a != b || string(encoded) != string(step.State) || state.AbsentAt() != step.Absent {
			problems[k] = fmt.Sprintf("got  %s\n%s\nabsent at %d\nwant %s\n%s\nabsent at %d", a, encoded, state.AbsentAt(), b, step.State, step.Absent)
		}
	}
	return problems
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// script writes a vector down.
type script struct {
	vectors.Vector
	now    bucket.Micros
	limits *[]vectors.Quota
}

func quotas(q ...vectors.Quota) *[]vectors.Quota { return &q }

func perMinute(resource string, limit float64) vectors.Quota {
	return vectors.Quota{Resource: resource, Limit: vectors.Number(limit), Per: bucket.Minute}
}

func newScript(name string, limits *[]vectors.Quota) *script {
	return &script{vectors.Vector{Name: name}, 1_700_000_000_123_457, limits}
}

func (s *script) wait(d bucket.Micros) *script { s.now += d; return s }

func (s *script) under(limits *[]vectors.Quota) *script { s.limits = limits; return s }

func (s *script) do(ops ...vectors.Op) *script { return s.batch("", false, 0, ops...) }

func (s *script) batch(id string, retry bool, since bucket.Micros, ops ...vectors.Op) *script {
	s.Steps = append(s.Steps, vectors.Step{Now: s.now, Limits: s.limits, Batch: id, Retry: retry, Since: since, Ops: ops})
	return s
}

func numbers(fs ...float64) (out []vectors.Number) {
	for _, f := range fs {
		out = append(out, vectors.Number(f))
	}
	return out
}

func acquire(cost ...float64) vectors.Op { return vectors.Op{Kind: "acquire", Cost: numbers(cost...)} }
func adjust(cost ...float64) vectors.Op  { return vectors.Op{Kind: "adjust", Cost: numbers(cost...)} }
func record(cost ...float64) vectors.Op  { return vectors.Op{Kind: "record", Cost: numbers(cost...)} }

func queue(place, flow string, cost ...float64) vectors.Op {
	return vectors.Op{Kind: "acquire", Cost: numbers(cost...), Place: place, Flow: flow, Poll: bucket.Second, Grace: bucket.Second / 2}
}

func inFlowOf(flow string, o vectors.Op) vectors.Op { o.Flow = flow; return o }

func after(o vectors.Op) vectors.Op { o.After = true; return o }

func urgent(priority int32, o vectors.Op) vectors.Op { o.Priority = priority; return o }

func weighed(weight float64, o vectors.Op) vectors.Op { o.Weight = vectors.Number(weight); return o }

var (
	peek   = vectors.Op{Kind: "peek"}
	rebase = vectors.Op{Kind: "rebase"}
)

func leave(place string) vectors.Op { return vectors.Op{Kind: "leave", Place: place} }

func setLimit(quota int, limit, burst float64) vectors.Op {
	return vectors.Op{Kind: "set-limit", Quota: quota, Limit: vectors.Number(limit), Burst: vectors.Number(burst)}
}

func clearLimit(quota int) vectors.Op { return vectors.Op{Kind: "clear-limit", Quota: quota} }

func block(span bucket.Micros) vectors.Op { return vectors.Op{Kind: "block", Span: span} }

func observe(quota int, level, limit float64) vectors.Op {
	return vectors.Op{Kind: "observe", Quota: quota, Level: vectors.Number(level), Limit: vectors.Number(limit)}
}

// writtenVectors are one story each.
func writtenVectors() []vectors.Vector {
	one := quotas(perMinute("tokens", 600))
	two := quotas(perMinute("requests", 60), perMinute("tokens", 6000))
	three := quotas(perMinute("requests", 60), vectors.Quota{Resource: "requests", Limit: 1000, Per: bucket.Day}, perMinute("tokens", 7777.7))
	fast := quotas(vectors.Quota{Resource: "requests", Limit: 7, Per: bucket.Second, Burst: 2})
	nan, inf := math.NaN(), math.Inf(1)
	const second = bucket.Second

	scripts := []*script{
		newScript("acquire until refused, then at the hint", one).do(acquire(400)).do(acquire(200)).do(acquire(1)).wait(99_999).do(acquire(1)).wait(1).do(acquire(1)),
		newScript("all or nothing", two).do(acquire(1, 5990)).do(acquire(1, 11)).do(acquire(1, 10)).do(peek),
		newScript("cost tail missing, zero and negative zero", two).do(acquire(1)).do(acquire()).do(acquire(0, 0)).do(acquire(math.Copysign(0, -1), 1)).do(peek),
		newScript("too large, also beside a refusal", two).do(acquire(61, 0)).do(acquire(1, 6000.000001)).do(acquire(60, 6000)).do(acquire(60, 6001)).do(acquire(60, 6000)),
		newScript("invalid", one).do(acquire(-1), acquire(nan), acquire(inf), acquire(1e15+1), acquire(1, 2), adjust(nan), adjust(-inf), record(-1), vectors.Op{Kind: "leave"}).
			do(weighed(-1, acquire(1)), weighed(1e-7, acquire(1)), weighed(2e6, acquire(1)), weighed(nan, acquire(1)), queue("a\x01", "", 1), queue("a", "f\n", 1)).
			do(setLimit(1, 5, 0), setLimit(-1, 5, 0), setLimit(0, 0, 0), setLimit(0, nan, 0), setLimit(0, 5, -1), clearLimit(9), observe(2, 5, 0), observe(0, inf, 0), observe(0, 1, nan), block(bucket.MaxSpan+1)).
			do(vectors.Op{Kind: "acquire", Place: "p", Grace: -1}, vectors.Op{Kind: "acquire", Place: "p", Poll: bucket.MaxSpan + 1}, vectors.Op{Kind: "acquire", Place: "p", Grace: bucket.MaxSpan + 1}).do(peek),
		newScript("adjust credits to the burst, debits below zero", one).do(acquire(600)).do(adjust(250.5)).do(adjust(1000)).do(adjust(-1000)).wait(10 * second).do(acquire(1)).do(adjust(1e15)).do(adjust(-1e15)).do(adjust(-1e15)).do(acquire(1)),
		newScript("record without asking", two).do(record(100, 3)).do(acquire(0, 1)).do(acquire(1, 1)).wait(41 * second).do(acquire(1, 1)),
		newScript("refill of thirds", quotas(vectors.Quota{Resource: "x", Limit: 1, Per: 3, Burst: 10})).do(acquire(10)).wait(1).do(acquire(0.1)).wait(1).do(acquire(0.1)).wait(5).do(acquire(2)).wait(7).do(acquire(4)).do(peek),
		newScript("seven a second, burst two", fast).do(acquire(1), acquire(1), acquire(1)).wait(142_857).do(acquire(1)).wait(1).do(acquire(1)).do(peek),
		newScript("a fraction below the level", one).do(acquire(0.1), acquire(0.2), acquire(0.3), acquire(599.4)).do(acquire(1e-9)).do(peek),
		newScript("time goes backwards", one).do(acquire(600)).wait(-30 * second).do(acquire(1)).do(adjust(5)).do(acquire(5)).wait(30*second + 10_000).do(acquire(0.1)).do(peek),
		newScript("time before the epoch and after the last instant", one).wait(-2_000_000_000_000_000).do(acquire(600)).do(acquire(1)).wait(20_000_000_000_000_000).do(acquire(600)).do(queue("a", "", 600)).do(block(bucket.MaxSpan)).do(peek),
		newScript("override, ratio of burst kept", fast).do(acquire(2)).do(setLimit(0, 70, 0)).wait(100_000).do(peek).do(acquire(7)).do(acquire(20)).do(setLimit(0, 1, 5)).do(peek).wait(9 * second).do(acquire(5)).do(clearLimit(0)).do(peek),
		newScript("override cuts a level and keeps the key", one).do(setLimit(0, 60, 0)).do(acquire(61)).wait(3600 * second).do(peek).do(clearLimit(0)).do(peek),
		newScript("block and unblock", one).do(acquire(600)).do(block(5 * second)).do(acquire(1)).do(block(second)).do(acquire(60)).do(queue("a", "f", 1)).wait(5 * second).do(queue("a", "f", 1)).do(block(9 * second)).do(acquire(0)).do(block(0)).do(acquire(1)).do(block(-1)),
		newScript("observe lowers, never raises, follows the limit", two).do(observe(1, 100, 0)).do(observe(1, 5000, 0)).do(observe(0, nan, 30)).do(peek).do(observe(0, 3, 60)).do(observe(0, -2, 0)).do(observe(1, nan, 0)).do(peek),
		newScript("rebase", one).do(acquire(600)).do(queue("a", "f", 600)).do(block(7*second)).batch("c/1", false, 0, adjust(1)).wait(-3600 * second).do(peek).do(rebase).do(queue("a", "f", 600)).wait(61 * second).do(rebase).do(queue("a", "f", 600)),
		newScript("no limits", nil).do(acquire()).do(acquire(1)).do(block(second)).do(queue("a", "")).do(peek).wait(second).do(queue("a", "")).do(setLimit(0, 1, 1)),
		newScript("limits resized, removed, added", two).do(acquire(30, 3000)).wait(second).under(quotas(perMinute("tokens", 1200))).do(acquire(100)).do(peek).
			under(quotas(perMinute("dollars", 3), perMinute("tokens", 9000))).do(acquire(1, 5)).do(peek).wait(60 * second).do(peek).under(two).do(peek).wait(600 * second).do(peek),
		newScript("a key that refilled is absent, whatever the limits", two).do(acquire(1, 1)).wait(60 * second).under(quotas(perMinute("tokens", 12000))).do(peek).under(one).do(peek),
		newScript("foreign buckets in line", two).do(acquire(60, 6000)).do(queue("a", "f", 1, 600)).under(one).do(queue("b", "f", 10)).do(peek).wait(7 * second).do(queue("b", "f", 10)).under(two).do(queue("a", "f", 1, 600)).do(queue("b", "f", 0, 10)),
		newScript("same resource over two periods", three).do(acquire(60, 1)).do(acquire(1, 1)).wait(50 * second).do(acquire(50, 7000)).do(acquire(0, 7777.7)).do(peek),
		newScript("a place protects its cost", one).do(acquire(600)).do(queue("a", "fa", 100)).do(acquire(1)).wait(10 * second).do(acquire(1)).do(acquire(0.5)).do(queue("b", "fb", 50)).wait(5 * second).do(queue("b", "fb", 50)).do(queue("a", "fa", 100)).do(acquire(1)),
		newScript("fair between two flows", one).do(acquire(600)).do(queue("a", "fa", 100)).do(queue("b", "fb", 300)).do(queue("c", "fa", 100)).do(queue("d", "fb", 10)).wait(second).
			do(queue("a", "fa", 100), after(queue("a", "fa", 50))).wait(29 * second).do(queue("b", "fb", 300)).do(queue("c", "fa", 100)).do(peek),
		newScript("weights", one).do(acquire(600)).do(weighed(2, queue("a", "fa", 100))).do(weighed(0.5, queue("b", "fb", 100))).do(weighed(2, queue("c", "fa", 100))).do(weighed(0.5, queue("d", "fb", 100))).do(queue("e", "fe", 100)).do(peek),
		newScript("priority", one).do(acquire(600)).do(queue("a", "", 10)).do(urgent(5, queue("b", "", 10))).do(urgent(-5, queue("c", "", 10))).do(urgent(5, queue("d", "x", 10))).do(urgent(1, acquire(5))).wait(second).do(queue("a", "", 10)).do(urgent(5, queue("b", "", 10))).do(urgent(7, queue("a", "", 10))),
		newScript("a settled call gives its share back", one).do(acquire(600)).do(queue("a", "fa", 200)).do(queue("b", "fb", 10)).do(queue("c", "fa", 200)).wait(20 * second).do(queue("a", "fa", 200)).
			do(vectors.Op{Kind: "adjust", Cost: numbers(190), Flow: "fa"}).do(peek).do(vectors.Op{Kind: "record", Cost: numbers(30), Flow: "fa"}).do(vectors.Op{Kind: "adjust", Cost: numbers(-30), Flow: "new", Weight: 3}).do(vectors.Op{Kind: "adjust", Cost: numbers(3), Flow: "none"}),
		newScript("leave gives back, in the middle and at the front", one).do(acquire(600)).do(queue("a", "f", 100)).do(queue("b", "f", 100)).do(queue("c", "f", 100)).do(queue("d", "g", 100)).do(leave("b")).do(leave("x")).do(leave("a")).do(leave("c")).do(leave("d")).do(peek),
		newScript("a lease runs out", one).do(acquire(600)).do(queue("a", "f", 300)).do(queue("b", "f", 10)).wait(second).do(queue("b", "f", 10)).wait(second / 2).do(queue("b", "f", 10)).wait(1).do(queue("b", "f", 10)).wait(10 * second).do(peek),
		newScript("one without a place stands further back later", one).do(acquire(600)).do(queue("a", "fa", 10)).do(queue("b", "fa", 20)).do(queue("c", "fa", 30)).do(inFlowOf("fb", acquire(0.5))).do(inFlowOf("fb", acquire(100))).do(inFlowOf("fb", acquire(595))),
		newScript("several leases run out at once", one).do(acquire(600)).do(queue("a", "f", 33.3)).do(queue("b", "f", 44.4)).do(queue("c", "g", 10.1)).do(queue("d", "f", 77.7)).do(queue("e", "g", 20.2)).do(queue("h", "f", 5)).
			wait(second).do(queue("d", "f", 77.7)).do(queue("h", "f", 5)).do(queue("e", "g", 20.2)).wait(second/2 + 1).do(peek).wait(second).do(peek),
		newScript("a place is taken over with another cost and flow", one).do(acquire(600)).do(queue("a", "f", 100)).do(queue("b", "f", 100)).do(queue("a", "f", 300)).do(weighed(4, queue("a", "f", 30))).do(queue("a", "g", 30)).do(urgent(2, queue("a", "g", 30))).do(queue("a", "g", 601)).wait(2 * second).do(queue("b", "f", 5)),
		newScript("followers", one).do(acquire(500)).do(queue("a", "f", 40), after(queue("a", "f", 50)), after(queue("a", "f", 20)), after(queue("a", "f", 1))).do(after(acquire(1))).do(acquire(1), after(adjust(5))).do(peek, after(acquire(0))),
		newScript("ahead more than the burst", one).do(acquire(600)).do(queue("a", "fa", 400)).do(queue("b", "fb", 400)).do(queue("c", "fc", 600)).wait(40 * second).do(queue("c", "fc", 600)).do(queue("a", "fa", 400)).do(queue("b", "fb", 400)).do(queue("c", "fc", 600)),
		newScript("a full burst is served", one).do(acquire(1)).do(queue("a", "fa", 600)).do(acquire(1)).do(queue("b", "fb", 1)).wait(100_000).do(queue("b", "fb", 1)).do(queue("a", "fa", 600)),
		newScript("ageing", one).do(acquire(600)).do(queue("a", "fa", 100)).do(queue("b", "fa", 100)).do(vectors.Op{Kind: "acquire", Cost: numbers(50), Place: "c", Flow: "fa", Grace: bucket.Day}).wait(second).do(queue("d", "fd", 500)).wait(80 * second).do(queue("e", "fe", 100)).do(peek),
		newScript("a waiting key loses its override", one).do(acquire(600)).do(queue("a", "fa", 500)).do(setLimit(0, 60, 0)).do(queue("b", "fb", 10)).do(queue("a", "fa", 500)).do(queue("b", "fb", 10)).do(peek),
		newScript("batches: found, retried, forgotten", one).batch("c/1", false, 0, acquire(100), acquire(501), peek).wait(5).batch("c/1", true, 1_700_000_000_000_000, acquire(100), acquire(501), peek).
			batch("c/2", true, 1_700_000_000_123_457, acquire(100)).batch("c/1", true, 1_700_000_000_000_000, acquire(100)).batch("d", false, 0, acquire(1)).batch("d", true, 0, acquire(1)).batch("e\x02", false, 0, acquire(1)).
			batch("f/1", true, 0, acquire(1)).batch("f/1", true, 1_700_000_000_999_999, acquire(1)).wait(61*second).batch("g/1", true, 1_700_000_001_123_462, acquire(1)).batch("g/1", true, 1_700_000_001_123_463, acquire(1)).do(peek),
		newScript("batches: followers retried", one).do(acquire(550)).batch("c/1", false, 0, queue("a", "f", 40), after(queue("a", "f", 30)), after(queue("a", "f", 5))).wait(second).batch("c/1", true, 1_700_000_000_123_457, queue("a", "f", 40), after(queue("a", "f", 30)), after(queue("a", "f", 5))).wait(2*second).batch("c/1", true, 1_700_000_000_123_457, queue("a", "f", 40), after(queue("a", "f", 30)), after(queue("a", "f", 5))),
		newScript("tiny limits", quotas(vectors.Quota{Resource: "x", Limit: 5e-324, Per: bucket.MaxSpan, Burst: 1e15})).do(acquire(1e15)).do(queue("a", "f", 1)).do(queue("b", "g", 1e15)).do(adjust(0.5)).do(peek),
		newScript("names", quotas(perMinute("größe \"q\" \\ <é>\u2028", 10))).do(acquire(10)).do(queue("plätze/1 \"", "fluß\\", 1)).batch("ü/\"1", false, 0, acquire(0)).do(peek),
	}
	crowd := newScript("sixteen clients are remembered", one)
	for i := range bucket.MaxBatches + 2 {
		crowd.wait(1).batch(fmt.Sprintf("c%d/1", i), false, 0, record(1))
	}
	crowd.batch("c0/1", true, 1_700_000_000_000_000, record(1)).batch("c5/1", true, 1_700_000_000_000_000, record(1)).batch("new/1", true, crowd.now-1, record(1))
	tenants := newScript("more flows than a state has tags for", one).do(acquire(600)).do(queue("a", "f", 600))
	for i := range 129 {
		o := vectors.Op{Kind: "record", Cost: numbers(float64(1 + (i*37)%50)), Flow: fmt.Sprintf("t%d", i)}
		p := o
		p.Flow = fmt.Sprintf("u%d", i)
		tenants.Steps = append(tenants.Steps, vectors.Step{Now: tenants.now, Limits: one, Ops: []vectors.Op{o, p}})
	}
	tenants.Steps = append(tenants.Steps[:2], joined(tenants.Steps[2:]))
	scripts = append(scripts, crowd, tenants)
	out := make([]vectors.Vector, len(scripts))
	for i, s := range scripts {
		out[i] = s.Vector
	}
	return out
}

// joined is one step with the operations of many.
func joined(steps []vectors.Step) vectors.Step {
	out := steps[0]
	for _, s := range steps[1:] {
		out.Ops = append(out.Ops, s.Ops...)
	}
	return out
}

// randomVectors are what nobody thought of.
func randomVectors() []vectors.Vector {
	sets := []*[]vectors.Quota{
		quotas(perMinute("tokens", 600)),
		quotas(perMinute("requests", 60), perMinute("tokens", 6000)),
		quotas(perMinute("requests", 61.7), perMinute("tokens", 5000.3), vectors.Quota{Resource: "tokens", Limit: 100_000, Per: bucket.Hour, Burst: 7000}),
	}
	var out []vectors.Vector
	for seed := range uint64(18) {
		g := &generator{rand.New(rand.NewPCG(seed, 7)), newScript(fmt.Sprintf("random %d", seed), sets[seed%3]), sets}
		for range 24 {
			g.step()
		}
		out = append(out, g.Vector)
	}
	return out
}

type generator struct {
	*rand.Rand
	*script
	sets []*[]vectors.Quota
}

func (g *generator) step() {
	switch {
	case g.IntN(20) == 0:
		g.wait(-bucket.Micros(g.IntN(int(10 * bucket.Second))))
	case g.IntN(4) > 0:
		g.wait(bucket.Micros(g.ExpFloat64() * float64(bucket.Second) / 2))
	}
	if g.IntN(25) == 0 {
		g.under(g.sets[g.IntN(len(g.sets))])
	}
	var ops []vectors.Op
	for range 1 + g.IntN(3) {
		ops = append(ops, g.op())
	}
	if g.IntN(3) == 0 {
		retry := g.IntN(3) == 0
		g.batch(fmt.Sprintf("c%d/%d", g.IntN(3), g.IntN(4)), retry, g.now-bucket.Micros(g.IntN(int(70*bucket.Second))), ops...)
		return
	}
	g.do(ops...)
}

func (g *generator) cost() []float64 {
	cost := []float64{float64(g.IntN(5)), float64(g.IntN(200)) * 1.1}
	if len(*g.limits) == 1 {
		cost = []float64{float64(g.IntN(2000)) / 7}
	}
	return cost
}

func (g *generator) op() vectors.Op {
	flow := []string{"", "fa", "fb"}[g.IntN(3)]
	place := []string{"p1", "p2", "p3", "p4", "p5"}[g.IntN(5)]
	quota := g.IntN(len(*g.limits))
	o := vectors.Op{}
	switch g.IntN(16) {
	default:
		o = urgent(int32(g.IntN(8)/7), queue(place, flow, g.cost()...))
		o.After = g.IntN(6) == 0
	case 0:
		o = acquire(g.cost()...)
	case 1:
		o = leave(place)
	case 2, 3:
		o = adjust(g.cost()...)
	case 4:
		o = record(g.cost()...)
	case 5:
		o = setLimit(quota, 10+g.Float64()*5000, float64(g.IntN(2))*3000)
	case 6:
		o = clearLimit(quota)
	case 7:
		o = block(bucket.Micros(g.IntN(3_000_000) - 1_000_000))
	case 8:
		o = observe(quota, float64(g.IntN(3000)), float64(g.IntN(2)*600))
	case 9:
		o = peek
	}
	if g.IntN(40) == 0 {
		o = rebase
	}
	o.Flow = flow
	if g.IntN(5) == 0 {
		o.Weight = vectors.Number([]float64{0.3, 2, 7}[g.IntN(3)])
	}
	return o
}
