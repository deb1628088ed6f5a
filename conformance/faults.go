package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// faults are the clauses about connections that break.
func faults() []clause {
	return []clause{
		{name: "faults/exactly-once", quote: "the driver recognises the repeated batch ([Namer]; the state remembers names) or returns [ErrUnknownOutcome].", needs: needsFaults, test: func(p *probe) {
			for _, f := range p.opts.Faults {
				p.exactlyOnce(f)
			}
		}},
		{name: "faults/prompt", quote: "when ctx ends, Apply returns promptly, each request wholly applied or not at all.", needs: needsFaults, test: func(p *probe) {
			for _, f := range p.opts.Faults {
				p.promptly(f)
			}
		}},
	}
}

// tally is what some requests may have done, each taking one unit, or giving one back.
type tally struct {
	mu            sync.Mutex
	least, most   float64 // taken by all, those of unknown outcome either way
	failed, asked int
}

func (t *tally) count(o outcome, units float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	switch {
	case o.err == nil && !o.unknown():
		t.least += units
		t.most += units
	case o.err == nil, errors.Is(o.err, driver.ErrUnknownOutcome):
		t.least += min(0, units)
		t.most += max(0, units)
		t.failed++
	default:
		t.failed++
	}
}

// unknown says whether some result is [bucket.Unknown].
func (o outcome) unknown() bool {
	for _, r := range o.responses {
		for _, res := range r.Results {
			if res.Status == bucket.Unknown {
				return true
			}
		}
	}
	return false
}

// exactlyOnce takes and gives while the connection breaks, and then adds up.
func (p *probe) exactlyOnce(f Fault) {
	const burst = 1e4
	d := p.open()
	l := limits(still("tokens", burst))
	p.one(d, "k", l, record(1000))
	end := f.Inject(p.tb, d)
	var t tally
	t.least, t.most = 1000, 1000
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 4 {
				ctx, cancel := context.WithTimeout(context.Background(), p.opts.Patience/50)
				units := float64(1+i) * []float64{8, -2, 6, -4}[j] // no two ways to add up to the same
				batch := []driver.Request{
					{Key: "k", Limits: l, Ops: []bucket.Op{adjust(-units / 2)}},
					{Key: "other", Limits: l, Ops: []bucket.Op{record(1)}},
					{Key: "k", Limits: l, Ops: []bucket.Op{adjust(-units / 2)}},
				}
				o := p.call(ctx, d, batch...)
				cancel()
				if o.hung {
					p.errorf("%s: Apply hangs though its ctx has ended", f.Name)
					return
				}
				t.count(o, units)
			}
		})
	}
	all.Wait()
	end()
	if p.failed() {
		return
	}
	taken := burst - p.settled(d, l)
	if taken < t.least-0.01 || taken > t.most+0.01 {
		p.errorf("%s: of %d requests %d failed; they may have taken %v to %v units in all, and took %v", f.Name, t.asked, t.failed, t.least, t.most, taken)
	}
}

// settled is the level of "k" once the connection works again, which may take a few attempts.
func (p *probe) settled(d driver.Driver, l *bucket.Limits) float64 {
	deadline := time.Now().Add(p.opts.Patience)
	for {
		o := p.call(context.Background(), d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{peekOp}})
		switch {
		case o.hung:
			panic(stop{})
		case o.err == nil:
			if s := o.responses[0].Results[0].State; s != nil && len(s.Buckets) == 1 {
				return s.Buckets[0].Level
			}
			p.fatalf("Peek returned no state with one bucket")
		case time.Now().After(deadline):
			p.fatalf("the fault is over, and Apply still fails after %v: %v", p.opts.Patience, o.err)
		}
	}
}

// promptly lets contexts end while the connection is broken.
func (p *probe) promptly(f Fault) {
	d := p.open()
	l := limits(still("tokens", 100))
	p.one(d, "k", l, record(1))
	end := f.Inject(p.tb, d)
	defer end()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		o := p.call(ctx, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(1)}})
		ended := ctx.Err()
		cancel()
		if o.hung {
			p.fatalf("%s: Apply hangs though its ctx has ended", f.Name)
		}
		if o.err != nil && ended != nil && !errors.Is(o.err, ended) && !errors.Is(o.err, driver.ErrUnknownOutcome) {
			// An error of the store may have come first; it must then be one of the store's.
			var store *driver.StoreError
			if !errors.As(o.err, &store) {
				p.errorf("%s: ctx ended, and the error is %v, neither ctx's nor a *driver.StoreError", f.Name, o.err)
			}
		}
	}
}
