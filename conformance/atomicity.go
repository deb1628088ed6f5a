package conformance

import (
	"context"
	"math/rand/v2"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// atomicity has the clauses about requests as wholes.
func atomicity() []clause {
	return []clause{
		{name: "atomic/all-or-none", quote: "An acquire debits every bucket it names, or none; a refused one changes no level.", test: allOrNone},
		{name: "atomic/ops-as-one", quote: "Ops are applied in order, as one.", test: opsAsOne},
		{name: "atomic/isolated", quote: "no other request on its key is applied between reading and writing the state.", test: isolated},
	}
}

func allOrNone(p *probe) {
	d := p.open()
	l := limits(
		still("requests", 10),
		still("tokens", 100),
		bucket.Quota{Resource: "tokens", Limit: 50, Per: bucket.MaxSpan - 1})
	levels := func() (out [3]float64) {
		s := p.peek(d, "k", l)
		if len(s.Buckets) != 3 {
			p.fatalf("peek shows %d buckets, want 3", len(s.Buckets))
		}
		for i, b := range s.Buckets {
			out[i] = b.Level
		}
		return out
	}
	p.one(d, "k", l, acquire(1, 10))
	before := levels()
	for _, op := range []bucket.Op{
		acquire(5, 41), acquire(10, 5), acquire(9, 90), // one bucket too little, the others enough
		acquire(1, 60), acquire(11, 1), // never
		acquire(1, -1), acquire(1, 1, 1), // invalid
		wait("place", 9, 45),
	} {
		if r := p.one(d, "k", l, op).Results[0]; r.Status == bucket.Granted {
			p.errorf("acquire%v was granted from levels %v", op.Cost, before)
		}
		for i, level := range levels() {
			if !near(level, before[i]) {
				p.errorf("acquire%v was refused, but bucket %d went from %v to %v", op.Cost, i, before[i], level)
			}
		}
		p.one(d, "k", l, bucket.Op{Kind: bucket.Leave, Place: "place"})
	}
	p.one(d, "k", l, acquire(9, 40))
	after := levels()
	for i, want := range []float64{0, 0, 50} { // the buckets of tokens are ordered by period
		if !near(after[i], want) {
			p.errorf("acquire[9 40] left levels %v, want 0, 0 and 50", after)
		}
	}
}

func opsAsOne(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	r := p.one(d, "k", l, acquire(100), acquire(1), adjust(30), acquire(20), peekOp, record(60), acquire(1), peekOp)
	want := []bucket.Status{bucket.Granted, bucket.Refused, bucket.Done, bucket.Granted, bucket.Done, bucket.Done, bucket.Refused, bucket.Done}
	for i := range want {
		if got := r.Results[i].Status; got != want[i] {
			p.errorf("operation %d: %v, want %v: each sees what those before it did", i, got, want[i])
		}
	}
	for i, want := range map[int]float64{4: 10, 7: -50} {
		if s := r.Results[i].State; s == nil || len(s.Buckets) != 1 || !near(s.Buckets[0].Level, want) {
			p.errorf("the peek at %d shows %+v, want a level of %v", i, s, want)
		}
	}
	if level := p.level(d, "k", l, "tokens"); !near(level, -50) {
		p.errorf("after the request the level is %v, want -50", level)
	}
}

// isolated lets many requests take something, look, and give it back: each must see its own effect alone.
func isolated(p *probe) {
	d := p.open()
	l := limits(still("requests", 100), still("tokens", 100))
	p.contend(8, 8, func(*rand.Rand, int, int) bool {
		o := p.call(context.Background(), d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{peekOp, record(3, 7), peekOp, adjust(3, 7), peekOp}})
		if o.err != nil || o.hung {
			p.errorf("Apply: %v", o.err)
			return false
		}
		for i, want := range map[int][2]float64{0: {100, 100}, 2: {97, 93}, 4: {100, 100}} {
			s := o.responses[0].Results[i].State
			if s == nil || len(s.Buckets) != 2 {
				p.errorf("a peek shows %+v, want two buckets", s)
			} else if !near(s.Buckets[0].Level, want[0]) || !near(s.Buckets[1].Level, want[1]) {
				p.errorf("operation %d of a request saw levels %v and %v, want %v: another request came between", i, s.Buckets[0].Level, s.Buckets[1].Level, want)
			}
		}
		return !p.failed()
	})
}
