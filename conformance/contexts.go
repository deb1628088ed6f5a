package conformance

import (
	"context"
	"errors"
	"math"
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
	const burst = 1e4
	l := limits(still("requests", burst), still("tokens", burst))
	var mu sync.Mutex
	applied, unknown := 0.0, 0.0
	p.contend(8, 12, func(r *rand.Rand, _, _ int) bool {
		// From a microsecond to ten milliseconds: stores differ.
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(math.Pow(10, 3+4*r.Float64())))
		defer cancel()
		batch := []driver.Request{{Key: "k", Limits: l, Ops: []bucket.Op{record(1, 2), record(1, 2)}}}
		o := p.call(ctx, d, batch...)
		scramble(batch)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case o.hung:
			p.errorf("Apply hangs though its ctx has ended")
			return false
		case o.err == nil:
			applied += 2
		case errors.Is(o.err, driver.ErrUnknownOutcome):
			unknown += 2
		}
		if o.err != nil && !errors.Is(o.err, context.DeadlineExceeded) {
			p.errorf("with a ctx that ended: error %v, want one that matches %v", o.err, context.DeadlineExceeded)
		}
		return true
	})
	if p.failed() {
		return
	}
	s := p.peek(d, "k", l)
	if len(s.Buckets) != 2 {
		p.fatalf("peek shows %d buckets, want 2", len(s.Buckets))
	}
	requests, tokens := burst-s.Buckets[0].Level, burst-s.Buckets[1].Level
	if requests < applied-0.01 || requests > applied+unknown {
		p.errorf("%v units were taken, want %v, by requests that succeeded, and up to %v more, by those whose outcome is unknown", requests, applied, unknown)
	}
	if math.Abs(tokens-2*requests) > 0.01 {
		p.errorf("%v requests and %v tokens were taken by requests that take twice as many tokens: one was applied in part", requests, tokens)
	}
}
