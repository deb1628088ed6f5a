package conformance

import (
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// expiry has the clauses about forgetting.
func expiry() []clause {
	const quote = "a key may be dropped once [bucket.State.AbsentAt] has passed, never sooner."
	return []clause{
		{name: "expiry/soon", quote: quote, test: expirySoon},
		{name: "expiry/far", quote: quote, test: expiryFar},
		{name: "expiry/clock", quote: quote, needs: needsSetClock, test: expiryByClock},
	}
}

// expirySoon watches keys that are about to equal absent ones, at many different instants, until they do.
func expirySoon(p *probe) {
	d := p.open()
	m := newModel()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Second})
	var batch, look []driver.Request
	for i := range 48 {
		key := fmt.Sprint("key-", i)
		op := record(float64(1+p.rand.IntN(80)) + 0.7) // back in 2 to 81 ms
		if i%4 == 0 {
			op = bucket.Op{Kind: bucket.Block, Span: bucket.Micros(1+p.rand.IntN(80_000)) + 1000}
		}
		batch = append(batch, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{op}})
		look = append(look, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{peekOp}})
	}
	// Longer than a second: a time to live in whole seconds, rounded down, shows.
	batch = append(batch, driver.Request{Key: "long", Limits: l, Ops: []bucket.Op{record(1150)}})
	look = append(look, driver.Request{Key: "long", Limits: l, Ops: []bucket.Op{peekOp}})
	responses := p.following(m, d, batch...)
	watch := func(responses []driver.Response) {
		for _, w := range m.follow(look, responses) {
			p.fatalf("%s", w)
		}
	}
	p.until(d, responses[0].Now+90_000, look, watch)
	look = look[len(look)-1:]
	p.until(d, responses[0].Now+1_160_000, look, watch)
}

// expiryFar leaves keys that are far from absent alone while much else happens.
func expiryFar(p *probe) {
	d := p.open()
	m := newModel()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Day})
	debt := []driver.Request{
		{Key: "debt", Limits: l, Ops: []bucket.Op{record(9000)}},
		{Key: "override", Limits: l, Ops: []bucket.Op{{Kind: bucket.SetLimit, Limit: 10, Burst: 1000}}},
		{Key: "block", Limits: l, Ops: []bucket.Op{{Kind: bucket.Block, Span: bucket.MaxSpan}}},
		{Key: "line", Limits: l, Ops: []bucket.Op{record(10), wait("place", 999)}},
		{Key: "long debt", Limits: limits(still("tokens", 1)), Ops: []bucket.Op{record(bucket.MaxUnits)}},
	}
	p.following(m, d, debt...)
	brief := limits(bucket.Quota{Resource: "tokens", Limit: 1, Per: 1})
	for i := range 20 {
		var batch []driver.Request
		for j := range 25 {
			batch = append(batch, driver.Request{Key: fmt.Sprint("brief-", i, "-", j), Limits: brief, Ops: []bucket.Op{record(1)}})
		}
		p.apply(d, batch...)
	}
	for i := range debt {
		debt[i].Ops = []bucket.Op{peekOp}
		if r := p.following(m, d, debt[i]); r[0].Absent {
			p.errorf("key %q was dropped, it equals an absent one at %d at the soonest", debt[i].Key, m.absentAt(debt[i].Key))
		}
	}
}

// expiryByClock stands a microsecond before the instant, with much else going on, then at it.
func expiryByClock(p *probe) {
	d := p.open()
	l := limits(bucket.Quota{Resource: "tokens", Limit: 7, Per: bucket.Second})
	now := p.future(d)
	for i, op := range []bucket.Op{record(0.001), record(1), record(1000), {Kind: bucket.Block, Span: 1234}, {Kind: bucket.Block, Span: bucket.Day}} {
		m := newModel()
		p.setClock(d, now)
		key := fmt.Sprint("key-", i)
		r := p.following(m, d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{op}})[0]
		p.setClock(d, r.AbsentAt-1)
		for j := range 200 {
			p.one(d, fmt.Sprint("other-", i, "-", j), l, record(0.001))
		}
		if r := p.following(m, d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{peekOp}})[0]; r.Absent {
			p.errorf("key %q was dropped before %d", key, r.AbsentAt)
		}
		p.setClock(d, r.AbsentAt)
		p.following(m, d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{peekOp, acquire(7), acquire(1), peekOp}})
		now = r.AbsentAt + bucket.Hour
	}
}
