package conformance

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// clocks are the clauses about the store's time.
func clocks() []clause {
	return []clause{
		{name: "clock/bound", quote: "Over any interval no more than burst + rate·Δt + credits is admitted, whatever the order of nows", test: func(p *probe) {
			p.bounded(p.open())
		}},
		{name: "clock/bound-instances", quote: "Over any interval no more than burst + rate·Δt + credits is admitted, whatever the order of nows", needs: needsAnother, test: func(p *probe) {
			d := p.open()
			p.bounded(d, p.another(d), p.another(d))
		}},
		{name: "clock/one", quote: "every process that shares the store must see one clock", needs: needsAnother, test: oneClock},
		{name: "clock/now", quote: "Now is the store's clock at which the request was applied.", needs: needsSetClock, test: nowIsTheClock},
		{name: "clock/back", quote: "A clock that steps back must mint nothing", needs: needsSetClock, test: clockStepsBack},
	}
}

// bounded lets goroutines take what they can get, and adds up what was granted between any two instants.
func (p *probe) bounded(instances ...driver.Driver) {
	const burst, rate = 20, 2000 // rate a second
	l := limits(bucket.Quota{Resource: "tokens", Limit: rate, Per: bucket.Second, Burst: burst})
	type grant struct {
		at   bucket.Micros
		cost float64
	}
	var mu sync.Mutex
	var grants []grant
	p.contend(6, 25, func(_ *rand.Rand, goroutine, round int) bool {
		cost := float64(1 + (goroutine+round)%4)
		o := p.call(context.Background(), instances[goroutine%len(instances)], driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{acquire(cost)}})
		if o.err != nil || o.hung {
			p.errorf("Apply: %v", o.err)
			return false
		}
		if r := o.responses[0]; r.Results[0].Status == bucket.Granted {
			mu.Lock()
			defer mu.Unlock()
			grants = append(grants, grant{r.Now, cost})
		}
		return true
	})
	slices.SortFunc(grants, func(a, b grant) int { return cmp.Compare(a.at, b.at) })
	for i := range grants {
		sum := 0.0
		for j := i; j < len(grants); j++ {
			sum += grants[j].cost
			span := grants[j].at - grants[i].at
			if most := burst + rate*float64(span)/float64(bucket.Second); sum > most+1e-6 {
				p.fatalf("%v units were granted within %d µs, at most %v may be", sum, span, most)
			}
		}
	}
	if len(grants) == 0 {
		p.errorf("nothing at all was granted")
	}
}

// oneClock asks instances in turn: what happens later has no earlier time.
func oneClock(p *probe) {
	a := p.open()
	b := p.another(a)
	last := bucket.Micros(0)
	for i := range 10 {
		for j, d := range []driver.Driver{a, b} {
			now := p.one(d, fmt.Sprint("key-", i+j), nil, peekOp).Now
			if now < last {
				p.fatalf("by one instance it was %d, and afterwards by another %d: their clocks are %d µs apart", last, now, last-now)
			}
			last = now
		}
	}
	// A clock that is ahead shows when the other one is asked first.
	first := p.one(b, "k", nil, peekOp).Now
	second := p.one(a, "k", nil, peekOp).Now
	third := p.one(b, "k", nil, peekOp).Now
	if first > second || second > third {
		p.errorf("asked in turn, two instances say %d, %d and %d", first, second, third)
	}
}

func nowIsTheClock(p *probe) {
	d := p.open()
	now := p.future(d)
	for _, at := range []bucket.Micros{now, now + 1, now + bucket.Hour, now + bucket.Hour - 1, now + 999, now + 123_456_789} {
		p.setClock(d, at)
		for _, r := range p.apply(d, driver.Request{Key: "a", Ops: []bucket.Op{peekOp}}, driver.Request{Key: "b"}) {
			if r.Now != at {
				p.errorf("Now is %d, but the clock was set to %d", r.Now, at)
			}
		}
	}
}

func clockStepsBack(p *probe) {
	d := p.open()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Minute})
	now := p.future(d)
	p.setClock(d, now)
	p.one(d, "k", l, acquire(100))
	for _, back := range []bucket.Micros{bucket.Second, 0, bucket.Minute, 0, bucket.Hour - 1, 1, 0} {
		p.setClock(d, now-back)
		if r := p.one(d, "k", l, acquire(1)).Results[0]; r.Status != bucket.Refused {
			p.errorf("a full burst was taken, the clock went back and forth, now it is %d µs before: an acquire is %v", back, r.Status)
		}
	}
	p.setClock(d, now+bucket.Minute/4)
	if level := p.level(d, "k", l, "tokens"); level != 25 {
		p.errorf("a quarter of the period after the burst was taken, by the furthest clock, the level is %v, want 25", level)
	}
	if r := p.one(d, "k", l, acquire(25), acquire(1)); r.Results[0].Status != bucket.Granted || r.Results[1].Status != bucket.Refused {
		p.errorf("25 units, then one more: %v and %v", r.Results[0].Status, r.Results[1].Status)
	}
}
