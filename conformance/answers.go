package conformance

import (
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// answers are the clauses about what Apply returns.
func answers() []clause {
	return []clause{
		{name: "answers/order", quote: "Apply carries out each request against the state of its key and returns a response for each, in order.", test: answersInOrder},
		{name: "answers/results", quote: "Results has one entry for each operation.", test: oneResultEach},
		{name: "answers/refusals", quote: "Refusals are values in [bucket.Result]; an error is about the store", test: refusalsAreValues},
		{name: "answers/absent", quote: "Absent says that the store held no state for the key before.", test: absentSaysSo},
		{name: "answers/absent-at", quote: "AbsentAt is when the key will equal an absent one, see [bucket.State.AbsentAt].", test: absentAtSaysSo},
		{name: "answers/waiting", quote: "Waiting is the length of the key's line after the request.", test: waitingCounts},
		{name: "answers/own", quote: "the responses share nothing with the driver.", test: responsesAreOwn},
	}
}

func acquire(cost ...float64) bucket.Op { return bucket.Op{Kind: bucket.Acquire, Cost: cost} }
func record(cost ...float64) bucket.Op  { return bucket.Op{Kind: bucket.Record, Cost: cost} }
func adjust(cost ...float64) bucket.Op  { return bucket.Op{Kind: bucket.Adjust, Cost: cost} }

// wait is an acquire that takes a place for a minute at least.
func wait(place string, cost ...float64) bucket.Op {
	return bucket.Op{Kind: bucket.Acquire, Cost: cost, Place: place, Poll: bucket.Minute, Grace: bucket.Minute}
}

var peekOp = bucket.Op{Kind: bucket.Peek}

func answersInOrder(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	// Keys out of order, with a level each of their own.
	var batch []driver.Request
	for _, i := range p.rand.Perm(30) {
		batch = append(batch, driver.Request{Key: fmt.Sprint("key-", i), Limits: l, Ops: []bucket.Op{record(float64(i)), peekOp}})
	}
	for i, r := range p.apply(d, batch...) {
		want := 1000 - batch[i].Ops[0].Cost[0]
		if s := r.Results[1].State; s == nil || len(s.Buckets) != 1 || !near(s.Buckets[0].Level, want) {
			p.fatalf("response %d of %d is not that of its request on %s: its peek shows %+v, want a level of %v", i, len(batch), batch[i].Key, s, want)
		}
	}
}

func oneResultEach(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	many := make([]bucket.Op, 500)
	for i := range many {
		many[i] = acquire(1)
	}
	if got := p.apply(d); len(got) != 0 {
		p.errorf("an empty batch has %d responses", len(got))
	}
	got := p.apply(d,
		driver.Request{Key: "none", Limits: l},
		driver.Request{Key: "kinds", Limits: l, Ops: []bucket.Op{acquire(1), record(1), peekOp}},
		driver.Request{Key: "many", Limits: l, Ops: many})
	want := []bucket.Status{bucket.Granted, bucket.Done, bucket.Done}
	for i, r := range got[1].Results {
		if r.Status != want[i] {
			p.errorf("operation %d, %v: status is %v, want %v", i, []string{"acquire", "record", "peek"}[i], r.Status, want[i])
		}
	}
	if got[1].Results[2].State == nil {
		p.errorf("the third operation, a peek, returned no state")
	}
	for i, r := range got[2].Results {
		if r.Status != bucket.Granted {
			p.fatalf("operation %d of %d: status is %v, want %v", i, len(many), r.Status, bucket.Granted)
		}
	}
	if level := p.level(d, "many", l, "tokens"); !near(level, 500) {
		p.errorf("after 500 acquires of 1 in one request, the level is %v, want 500", level)
	}
}

func refusalsAreValues(p *probe) {
	d := p.open()
	l := limits(still("requests", 10), still("tokens", 100))
	p.one(d, "k", l, acquire(10, 10))
	for _, c := range []struct {
		name string
		op   bucket.Op
		want bucket.Status
	}{
		{"an acquire that must wait", acquire(1, 1), bucket.Refused},
		{"one that joins the line", wait("place", 1, 1), bucket.Refused},
		{"one above the burst", acquire(0, 101), bucket.TooLarge},
		{"a negative cost", acquire(-1), bucket.Invalid},
		{"an operation of no kind", bucket.Op{}, bucket.Invalid},
	} {
		if r := p.one(d, "k", l, c.op).Results[0]; r.Status != c.want {
			p.errorf("%s: status is %v, want %v", c.name, r.Status, c.want)
		}
	}
	if got := p.one(d, "k", l, bucket.Op{Kind: bucket.Block, Span: bucket.Minute}, acquire(0, 1)).Results[1]; got.Status != bucket.Refused || got.Quota != -1 {
		p.errorf("an acquire on a blocked key: status is %v by quota %d, want %v by -1", got.Status, got.Quota, bucket.Refused)
	}
}

func absentSaysSo(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	if r := p.one(d, "new", l, acquire(1)); !r.Absent {
		p.errorf("Absent is false for the first request on a key")
	}
	for range 3 {
		if r := p.one(d, "new", l, acquire(1)); r.Absent {
			p.errorf("Absent is true for a key that was used before and hasn't refilled")
		}
	}
	// Within one batch too: the second request finds what the first one left.
	got := p.apply(d, driver.Request{Key: "twice", Limits: l, Ops: []bucket.Op{acquire(1)}}, driver.Request{Key: "twice", Limits: l, Ops: []bucket.Op{acquire(1)}})
	if !got[0].Absent || got[1].Absent {
		p.errorf("a new key twice in one batch: Absent is %v, %v, want true, false", got[0].Absent, got[1].Absent)
	}
	for _, op := range []bucket.Op{{Kind: bucket.SetLimit, Limit: 5}, {Kind: bucket.Block, Span: bucket.Hour}} {
		p.one(d, op.Kind.String(), l, op)
		if r := p.one(d, op.Kind.String(), l, peekOp); r.Absent {
			p.errorf("Absent is true for a full key after %v", op.Kind)
		}
	}
}

func absentAtSaysSo(p *probe) {
	d := p.open()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Hour})
	m := newModel()
	for _, ops := range [][]bucket.Op{
		{acquire(50)}, {record(100)}, {adjust(120)}, {{Kind: bucket.Block, Span: 3 * bucket.Hour}}, {wait("a", 90)},
		{{Kind: bucket.Leave, Place: "a"}}, {{Kind: bucket.SetLimit, Limit: 10}}, {peekOp}, {{Kind: bucket.ClearLimit}}, {acquire(1000)},
	} {
		p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: ops})
	}
	long := wait("a", 90)
	long.Poll, long.Grace = bucket.Day, bucket.Day // after the bucket is full
	p.following(m, d, driver.Request{Key: "line", Limits: l, Ops: []bucket.Op{record(50), long}})
}

// following applies a batch and reports how the answer differs from the model's.
func (p *probe) following(m *model, d driver.Driver, batch ...driver.Request) []driver.Response {
	responses := p.apply(d, batch...)
	for _, w := range m.follow(batch, responses) {
		p.errorf("%s", w)
	}
	if p.failed() {
		panic(stop{})
	}
	return responses
}

func waitingCounts(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	p.one(d, "k", l, acquire(100))
	for i := range 5 {
		if r := p.one(d, "k", l, wait(fmt.Sprint("place-", i), 1)); r.Waiting != i+1 {
			p.errorf("with %d in line, Waiting is %d", i+1, r.Waiting)
		}
	}
	if r := p.one(d, "k", l, bucket.Op{Kind: bucket.Leave, Place: "place-2"}, bucket.Op{Kind: bucket.Leave, Place: "place-3"}); r.Waiting != 3 {
		p.errorf("after two of five have left, Waiting is %d, want 3", r.Waiting)
	}
	if r := p.one(d, "other", l, peekOp); r.Waiting != 0 {
		p.errorf("on another key, Waiting is %d, want 0", r.Waiting)
	}
}

func responsesAreOwn(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	m := newModel()
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{acquire(100), wait("place", 7)}})
	for _, ops := range [][]bucket.Op{{peekOp}, {acquire(1), peekOp}, {peekOp, {Kind: bucket.Leave, Place: "nobody"}}} {
		r := p.one(d, "k", l, ops...)
		for i := range r.Results {
			if s := r.Results[i].State; s != nil {
				s.At, s.Blocked = 0, bucket.Forever
				for j := range s.Buckets {
					s.Buckets[j] = bucket.Bucket{}
				}
				for j := range s.Line {
					clear(s.Line[j].Cost)
					s.Line[j] = bucket.Place{}
				}
				clear(s.Flows)
			}
			r.Results[i] = bucket.Result{}
		}
	}
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{peekOp}})
}
