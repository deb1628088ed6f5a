package conformance

import (
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// lines are the clauses about those who wait.
func lines() []clause {
	return []clause{
		{name: "line/protects", quote: "An acquire is granted when, in every bucket it names, the level covers its cost and the costs of all places before it in the line.", test: func(p *probe) {
			d := p.open()
			p.placesProtect(d, d)
		}},
		{name: "line/instances", quote: "An acquire is granted when, in every bucket it names, the level covers its cost and the costs of all places before it in the line.", needs: needsAnother, test: func(p *probe) {
			d := p.open()
			p.placesProtect(d, p.another(d))
		}},
		{name: "line/lease", quote: "A place whose lease has run out is dropped before anything else.", test: leasesRunOut},
		{name: "line/hint", quote: "Nothing else happening (no credit, no place given up, no lease run out) it is granted then, and not a microsecond sooner", test: hintsAreExact},
		{name: "line/hint-clock", quote: "Nothing else happening (no credit, no place given up, no lease run out) it is granted then, and not a microsecond sooner", needs: needsSetClock, test: hintsAreExactByClock},
	}
}

// placesProtect lets a and b, the same instance or two, wait in one line.
func (p *probe) placesProtect(a, b driver.Driver) {
	l := limits(still("requests", 100), still("tokens", 100))
	k := "k"
	expect := func(what string, d driver.Driver, op bucket.Op, want bucket.Status, place int) {
		r := p.one(d, k, l, op).Results[0]
		if r.Status != want || r.Place != place {
			p.errorf("%s: %v at place %d, want %v at %d", what, r.Status, r.Place, want, place)
		}
	}
	p.one(a, k, l, record(0, 90)) // 100 requests and 10 tokens left
	expect("a asks for 50 tokens of 10", a, wait("a", 1, 50), bucket.Refused, 1)
	expect("b asks for the 10 that a's place protects", b, wait("b", 1, 10), bucket.Refused, 2)
	expect("one who doesn't wait asks for 1 of them", b, acquire(1, 1), bucket.Refused, 3)
	expect("one who doesn't wait asks for requests only, beyond those protected", b, acquire(90), bucket.Granted, 0)
	first := wait("c", 1, 20)
	first.Priority = 1
	expect("one of higher priority", b, first, bucket.Refused, 1)
	expect("a polls behind it", a, wait("a", 1, 50), bucket.Refused, 2)
	p.one(b, k, l, adjust(0, 20)) // 30 tokens
	expect("a polls: 30 tokens don't cover c's 20 and its own 50", a, wait("a", 1, 50), bucket.Refused, 2)
	expect("c polls", b, first, bucket.Granted, 0)
	p.one(b, k, l, bucket.Op{Kind: bucket.Leave, Place: "a"})
	expect("b polls: a's place was given up through another instance", a, wait("b", 1, 10), bucket.Granted, 0)
	if r := p.one(a, k, l, peekOp); r.Waiting != 0 {
		p.errorf("all are served, and %d wait", r.Waiting)
	}
}

// until asks again and again until the store's clock has reached an instant, and gives each response to look.
func (p *probe) until(d driver.Driver, at bucket.Micros, batch []driver.Request, look func([]driver.Response)) {
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	first := bucket.Micros(0)
	for {
		responses := p.apply(d, batch...)
		look(responses)
		now := responses[0].Now
		if first == 0 {
			first = now
		}
		if now > at {
			return
		}
		if time.Since(began) > p.opts.Patience+(at-first).Duration() {
			p.fatalf("the store's clock went from %d to %d µs in %v", first, now, time.Since(began))
		}
		<-tick.C
	}
}

func leasesRunOut(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	m := newModel()
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(95)}})
	long := wait("alive", 3)
	short := wait("dead", 50)
	short.Poll, short.Grace = 20_000, 10_000
	r := p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{short, long}})[0]
	lease := r.Now + short.Poll + short.Grace
	batch := []driver.Request{{Key: "k", Limits: l, Ops: []bucket.Op{acquire(2), adjust(2), peekOp}}}
	batch[0].Ops[1].After = true
	p.until(d, lease, batch, func(responses []driver.Response) {
		r := responses[0]
		want := 2
		if r.Now > lease {
			want = 1
		}
		if r.Waiting != want {
			p.fatalf("%d µs before a lease runs out, %d wait, want %d", lease-r.Now, r.Waiting, want)
		}
		if got := r.Results[0].Status; (got == bucket.Granted) != (r.Now > lease) {
			p.fatalf("%d µs before the lease of the place ahead runs out, an acquire that it alone is in the way of is %v", lease-r.Now, got)
		}
		for _, w := range m.follow(batch, responses) {
			p.fatalf("%s", w)
		}
	})
}

// hintsAreExact follows an acquire from its refusal to its grant by the store's own clock.
func hintsAreExact(p *probe) {
	d := p.open()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Second, Burst: 100}, bucket.Quota{Resource: "requests", Limit: 700, Per: bucket.Second, Burst: 10})
	for i, cost := range [][]float64{{3, 1}, {1, 20}, {10, 41.5}} { // requests, tokens
		key := fmt.Sprint("key-", i)
		r := p.one(d, key, l, record(10, 100), acquire(cost...))
		hint := r.Results[1].RetryAfter
		if r.Results[1].Status != bucket.Refused || hint <= 0 {
			p.fatalf("an acquire from empty buckets is %v, to be tried again in %d µs", r.Results[1].Status, hint)
		}
		at, granted := r.Now+hint, false
		p.until(d, at, []driver.Request{{Key: key, Limits: l, Ops: []bucket.Op{acquire(cost...)}}}, func(responses []driver.Response) {
			r := responses[0]
			switch {
			case granted:
			case r.Results[0].Status == bucket.Granted && r.Now < at:
				p.fatalf("granted %d µs before the hint said", at-r.Now)
			case r.Results[0].Status != bucket.Granted && r.Now >= at:
				p.fatalf("%v %d µs after the hint said that it would be granted", r.Results[0].Status, r.Now-at)
			case r.Results[0].Status == bucket.Refused && r.Now+r.Results[0].RetryAfter != at:
				p.fatalf("the hint moved from %d to %d though nothing happened", at, r.Now+r.Results[0].RetryAfter)
			}
			granted = granted || r.Results[0].Status == bucket.Granted
		})
	}
}

func hintsAreExactByClock(p *probe) {
	d := p.open()
	now := p.future(d)
	for i, l := range []*bucket.Limits{
		limits(bucket.Quota{Resource: "tokens", Limit: 7, Per: bucket.Second}),
		limits(bucket.Quota{Resource: "tokens", Limit: 1.0 / 3, Per: bucket.Day, Burst: 2}),
		limits(bucket.Quota{Resource: "tokens", Limit: 1e9, Per: bucket.Second}, bucket.Quota{Resource: "tokens", Limit: 1e10 + 1.0/3, Per: bucket.Day}),
	} {
		for j, debt := range []float64{0, 1.5, 40} {
			key := fmt.Sprint("key-", i, "-", j)
			p.setClock(d, now)
			p.one(d, key, l, record(l.Quota(0).Burst+debt))
			r := p.one(d, key, l, acquire(1)).Results[0]
			if r.Status != bucket.Refused || r.RetryAfter <= 0 {
				p.fatalf("an acquire from a debt of %v is %v, to be tried again in %d µs", debt, r.Status, r.RetryAfter)
			}
			p.setClock(d, now+r.RetryAfter-1)
			if early := p.one(d, key, l, acquire(1)).Results[0]; early.Status != bucket.Refused || early.RetryAfter != 1 {
				p.errorf("a microsecond before the hint: %v, %d µs to go, want %v and 1", early.Status, early.RetryAfter, bucket.Refused)
			}
			p.setClock(d, now+r.RetryAfter)
			if then := p.one(d, key, l, acquire(1)).Results[0]; then.Status != bucket.Granted {
				p.errorf("at the hint: %v, %d µs to go, want %v", then.Status, then.RetryAfter, bucket.Granted)
			}
		}
	}
}
