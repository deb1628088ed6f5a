package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// closing has the clauses about Close.
func closing() []clause {
	return []clause{
		{name: "close/closed", quote: "After Close, Apply returns [ErrClosed].", test: closedRefuses},
		{name: "close/twice", quote: "Closing twice is no error.", test: closeTwice},
		{name: "close/under-way", quote: "it waits for what is under way", test: closeUnderWay},
		{name: "close/others", quote: "and leaves the store to others.", needs: needsAnother, test: closeLeavesOthers},
		{name: "close/kept", quote: "A driver only persists.", needs: needsReopen, test: closeKeeps},
	}
}

func closedRefuses(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	p.one(d, "k", l, acquire(1))
	p.close(d)
	for _, key := range []string{"k", "new"} {
		if o := p.call(context.Background(), d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{acquire(1)}}); !errors.Is(o.err, driver.ErrClosed) {
			p.errorf("Apply on key %q after Close: error %v, want one that matches driver.ErrClosed", key, o.err)
		}
	}
}

func closeTwice(p *probe) {
	d := p.open()
	p.close(d)
	p.close(d)
	fresh := p.open()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { p.protect(func() { p.close(fresh) }) })
	}
	all.Wait()
}

// closeUnderWay closes while requests run: each either succeeds or is refused as a whole, and where the state can be
// looked at afterwards, it holds just what succeeded.
func closeUnderWay(p *probe) {
	const burst = 1e4
	d := p.open()
	l := limits(still("tokens", burst))
	var witness driver.Driver
	if p.opts.Another != nil {
		witness = p.another(d)
	}
	p.one(d, "k", l, peekOp)

	var mu sync.Mutex
	applied, unknown := 0.0, 0.0
	var closed atomic.Bool
	started := make(chan struct{}, 8)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				after := closed.Load()
				o := p.call(context.Background(), d,
					driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(1)}},
					driver.Request{Key: "other", Limits: l, Ops: []bucket.Op{record(1)}})
				if o.hung {
					p.errorf("Apply hangs while Close runs")
					return
				}
				mu.Lock()
				switch {
				case o.err == nil:
					applied++
				case errors.Is(o.err, driver.ErrUnknownOutcome):
					unknown++
				}
				mu.Unlock()
				if i == 3 {
					started <- struct{}{}
				}
				if o.err == nil && after {
					p.errorf("Apply succeeds after Close has returned")
					return
				}
				if o.err != nil {
					if !errors.Is(o.err, driver.ErrClosed) && !errors.Is(o.err, driver.ErrUnknownOutcome) {
						p.errorf("Apply while Close runs: %v, want one that matches driver.ErrClosed", o.err)
					}
					if i < 3 {
						started <- struct{}{}
					}
					return
				}
			}
		})
	}
	for range 4 {
		<-started
	}
	p.close(d)
	closed.Store(true)
	all.Wait()
	if witness == nil && p.opts.Reopen != nil {
		witness = p.adopt(p.opts.Reopen(p.tb, d))
	}
	if witness == nil || p.failed() {
		return
	}
	for _, key := range []string{"k", "other"} {
		if taken := burst - p.level(witness, key, l, "tokens"); taken < applied-0.01 || taken > applied+unknown {
			p.errorf("%v batches succeeded, %v have an unknown outcome, and %v units were taken from key %s", applied, unknown, taken, key)
		}
	}
}

func closeLeavesOthers(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	other := p.another(d)
	p.one(d, "k", l, acquire(40))
	p.close(d)
	if level := p.level(other, "k", l, "tokens"); !near(level, 60) {
		p.errorf("after one instance took 40 of 100 and closed, another finds %v", level)
	}
	if r := p.one(other, "k", l, acquire(60)); r.Results[0].Status != bucket.Granted {
		p.errorf("after another instance closed, an acquire that the level covers is %v", r.Results[0].Status)
	}
}

func closeKeeps(p *probe) {
	d := p.open()
	m := newModel()
	l := limits(still("requests", 10), still("tokens", 100))
	ops := []bucket.Op{
		record(4, 130), {Kind: bucket.SetLimit, Quota: 0, Limit: 20}, {Kind: bucket.Block, Span: bucket.Hour},
	}
	p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: ops})
	for range 2 {
		d = p.reopen(d)
		p.following(m, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{peekOp, acquire(0, 1)}})
	}
}
