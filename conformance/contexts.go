package conformance

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// contexts are the clauses about callers who give up.
func contexts() []clause {
	return []clause{
		{name: "context/ended", quote: "It returns ctx's error if it is sure that nothing was applied and ErrUnknownOutcome, wrapping ctx's error, otherwise.", test: endedContext},
		{name: "context/ending", quote: "when ctx ends, Apply returns promptly, each request wholly applied or not at all.", test: endingContext},
	}
}

// endedContext begins with a ctx that has ended: Apply can be sure that nothing was applied, so it should be.
func endedContext(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	p.one(d, "k", l, acquire(1))
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
	defer cancel()
	least, most := 99.0, 99.0
	for _, c := range []struct {
		name string
		ctx  context.Context
		want error
	}{{"cancelled", cancelled, context.Canceled}, {"past its deadline", expired, context.DeadlineExceeded}} {
		o := p.call(c.ctx, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(10)}})
		switch {
		case o.hung:
			return
		case !errors.Is(o.err, c.want):
			p.errorf("with a ctx that is %s: error %v, want one that matches %v", c.name, o.err, c.want)
		}
		if errors.Is(o.err, driver.ErrUnknownOutcome) {
			least -= 10
		}
	}
	if level := p.level(d, "k", l, "tokens"); level < least || level > most+0.01 {
		p.errorf("two requests failed, and the level went from 99 to %v", level)
	}
}

// endingContext ends contexts while requests are under way, and reckons what each outcome allows. The batch is
// overwritten at once: whoever still reads it takes more than was asked for.
func endingContext(p *probe) {
	d := p.open()
	const goroutines, rounds, burst = 8, 10, 1e6
	l := limits(still("requests", burst), still("tokens", burst))
	var mu sync.Mutex
	applied, unknown := 0.0, 0.0

	var all sync.WaitGroup
	for i := range goroutines {
		r := rand.New(rand.NewPCG(p.opts.Seed, uint64(i)))
		all.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.ExpFloat64()*float64(time.Millisecond)))
				batch := []driver.Request{{Key: "k", Limits: l, Ops: []bucket.Op{record(1, 2), record(1, 2)}}}
				o := p.call(ctx, d, batch...)
				scramble(batch)
				cancel()
				mu.Lock()
				switch {
				case o.hung:
					p.errorf("Apply hangs though its ctx has ended")
				case o.err == nil:
					applied += 2
				case errors.Is(o.err, driver.ErrUnknownOutcome):
					unknown += 2
				}
				mu.Unlock()
				if o.err != nil && !errors.Is(o.err, context.DeadlineExceeded) {
					p.errorf("with a ctx that ended: error %v, want one that matches %v", o.err, context.DeadlineExceeded)
				}
			}
		})
	}
	all.Wait()
	if p.failed() {
		return
	}
	s := p.peek(d, "k", l)
	least, most := burst-applied-unknown, burst-applied+0.01
	for i, b := range s.Buckets {
		if taken := (burst - b.Level) / float64(i+1); burst-taken < least || burst-taken > most {
			p.errorf("%v units were taken of %s, want between %v and %v: %v by requests that succeeded, %v by those whose outcome is unknown", taken*float64(i+1), b.Resource, float64(i+1)*applied, float64(i+1)*(applied+unknown), float64(i+1)*applied, float64(i+1)*unknown)
		}
	}
	if taken := [2]float64{burst - s.Buckets[0].Level, burst - s.Buckets[1].Level}; !near(burst-taken[1], burst-2*taken[0]) && !near(burst-2*taken[0], burst-taken[1]) {
		p.errorf("%v requests and %v tokens were taken by requests that take twice as many tokens: one was applied in part", taken[0], taken[1])
	}
}
