package conformance

import (
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// differentials compare a driver with the arithmetic over a map, on random work.
func differentials() []clause {
	const quote = "For each request it reads the state of a key, calls [bucket.State.Apply], and writes the state back, in one atomic step"
	return []clause{
		{name: "differential/one-key", quote: quote, test: func(p *probe) { p.differential(150, 1, "k") }},
		{name: "differential/batches", quote: quote, test: func(p *probe) { p.differential(80, 6, "", "a", "a:b", "{a}b") }},
		{name: "differential/reopened", quote: "A driver only persists.", needs: needsReopen, test: differentialReopened},
		{name: "differential/clock", quote: "A clock that steps back must mint nothing: [bucket.State.Apply] sees to it when it is given the clock as it is.", needs: needsSetClock, test: differentialClock},
	}
}

// differential sends random batches, and follows them in a model that takes its time from the responses.
func (p *probe) differential(batches, most int, keys ...string) {
	d := p.open()
	m := newModel()
	g := newGenerator(p.rand, keys...)
	for range batches {
		p.following(m, d, g.batch(most)...)
	}
	for _, key := range m.keys() {
		p.following(m, d, driver.Request{Key: key, Limits: g.limits[0], Ops: []bucket.Op{peekOp}})
	}
}

// differentialReopened closes the driver and opens the state again, again and again. Who waited may be gone then, with
// the process: so nobody does.
func differentialReopened(p *probe) {
	d := p.open()
	m := newModel()
	g := newGenerator(p.rand, "", "a", "b")
	for range 5 {
		for range 10 {
			batch := g.batch(4)
			for i := range batch {
				for j := range batch[i].Ops {
					batch[i].Ops[j].Place = ""
				}
			}
			p.following(m, d, batch...)
		}
		d = p.reopen(d)
	}
	for _, key := range m.keys() {
		p.following(m, d, driver.Request{Key: key, Limits: g.limits[0], Ops: []bucket.Op{peekOp}})
	}
}

// reopen closes d and opens its state again.
func (p *probe) reopen(d driver.Driver) driver.Driver {
	p.close(d)
	return p.adopt(p.opts.Reopen(p.tb, d))
}

// differentialClock sets the clock at random, back too.
func differentialClock(p *probe) {
	d := p.open()
	m := newModel()
	g := newGenerator(p.rand, "a", "b")
	now := p.future(d)
	for range 150 {
		now += bucket.Micros(p.rand.Int64N(40_000))
		at := now
		if p.rand.IntN(4) == 0 {
			at -= bucket.Micros(p.rand.Int64N(int64(bucket.Minute)))
		}
		p.setClock(d, at)
		for i, r := range p.following(m, d, g.batch(3)...) {
			if r.Now != at {
				p.fatalf("response %d says that it is %d, but the clock was set to %d", i, r.Now, at)
			}
		}
	}
}

// future is an instant far enough ahead for a clock that is set back by an hour to stay ahead of the store's real one:
// a store whose own expiry can't be set expires nothing then.
func (p *probe) future(d driver.Driver) bucket.Micros { return p.one(d, "clock", nil).Now + bucket.Day }

func (p *probe) setClock(d driver.Driver, now bucket.Micros) { p.opts.SetClock(p.tb, d, now) }
