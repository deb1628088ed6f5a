package conformance

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// probe is what a clause is tried with. It collects failures itself, so that the suite's own tests can look at those of
// a broken driver without failing.
type probe struct {
	tb      testing.TB // for the caller's functions only
	opts    *Options
	opener  func(testing.TB) driver.Driver
	rand    *rand.Rand // for the clause's own goroutine
	drivers []driver.Driver

	mu sync.Mutex
	verdict
}

// verdict is what became of a clause.
type verdict struct {
	failures   []string
	notCovered string // why it couldn't be tried; empty if it was
	byNature   bool   // the driver is not the kind of thing that the clause is about
}

// stop ends a clause: the panic of fatalf and skip.
type stop struct{}

// try tries one clause.
func try(tb testing.TB, c clause, open func(testing.TB) driver.Driver, o *Options) verdict {
	if c.needs != nil && !c.needs.has(o) {
		return verdict{notCovered: "needs " + c.needs.name}
	}
	p := &probe{tb: tb, opts: o, opener: open, rand: rand.New(rand.NewPCG(o.Seed, 0))}
	p.protect(func() { c.test(p) })
	for _, d := range p.drivers {
		p.protect(func() { p.close(d) })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict
}

// protect runs f, which may stop the clause; a panic of the driver is a failure.
func (p *probe) protect(f func()) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil, stop:
		default:
			p.errorf("the driver panicked: %v\n%s", r, debug.Stack())
		}
	}()
	f()
}

// errorf records a failure. Any goroutine may call it.
func (p *probe) errorf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const most = 5 // the first ones tell enough
	if len(p.failures) < most {
		p.failures = append(p.failures, fmt.Sprintf(format, args...))
	}
}

// fatalf records a failure and ends the clause. Only the clause's own goroutine may call it.
func (p *probe) fatalf(format string, args ...any) {
	p.errorf(format, args...)
	panic(stop{})
}

func (p *probe) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.failures) > 0
}

// skip ends a clause that this driver gives no occasion for.
func (p *probe) skip(why string) {
	p.mu.Lock()
	p.notCovered, p.byNature = why, true
	p.mu.Unlock()
	panic(stop{})
}

// open opens a fresh driver, which is closed at the end of the clause.
func (p *probe) open() driver.Driver { return p.adopt(p.opener(p.tb)) }

// another opens another instance over d's state.
func (p *probe) another(d driver.Driver) driver.Driver { return p.adopt(p.opts.Another(p.tb, d)) }

func (p *probe) adopt(d driver.Driver) driver.Driver {
	p.drivers = append(p.drivers, d)
	return d
}

// within runs f, a call into the driver, and says whether it returned in time. A panic in it is a failure.
func (p *probe) within(what string, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.protect(f)
	}()
	timer := time.NewTimer(p.opts.Patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		p.errorf("%s did not return within %v", what, p.opts.Patience)
		return false
	}
}

// close closes d.
func (p *probe) close(d driver.Driver) {
	var err error
	if !p.within("Close", func() { err = d.Close() }) {
		panic(stop{})
	}
	if err != nil {
		p.errorf("Close: %v", err)
	}
}

// outcome is what one Apply returned.
type outcome struct {
	responses []driver.Response
	err       error
	hung      bool
}

// call calls Apply and looks at the form of what it returns. Any goroutine may call it.
func (p *probe) call(ctx context.Context, d driver.Driver, batch ...driver.Request) outcome {
	var o outcome
	returned := make(chan outcome, 1)
	if !p.within("Apply", func() {
		responses, err := d.Apply(ctx, batch)
		returned <- outcome{responses: responses, err: err}
	}) {
		return outcome{hung: true, err: errors.New("hangs")}
	}
	select {
	case o = <-returned:
	default:
		return outcome{hung: true, err: errors.New("panicked")}
	}
	if o.err != nil {
		return o
	}
	if len(o.responses) != len(batch) {
		p.errorf("Apply returned %d responses for %d requests", len(o.responses), len(batch))
		o.hung = true
		return o
	}
	for i, r := range o.responses {
		if len(r.Results) != len(batch[i].Ops) {
			p.errorf("response %d has %d results for %d operations", i, len(r.Results), len(batch[i].Ops))
			o.hung = true
		}
	}
	return o
}

// apply is call for a batch that must succeed.
func (p *probe) apply(d driver.Driver, batch ...driver.Request) []driver.Response {
	o := p.call(context.Background(), d, batch...)
	if o.hung {
		panic(stop{})
	}
	if o.err != nil {
		p.fatalf("Apply: %v", o.err)
	}
	return o.responses
}

// one applies operations to one key.
func (p *probe) one(d driver.Driver, key string, l *bucket.Limits, ops ...bucket.Op) driver.Response {
	return p.apply(d, driver.Request{Key: key, Limits: l, Ops: ops})[0]
}

// peek returns the state of a key, refilled to the store's now.
func (p *probe) peek(d driver.Driver, key string, l *bucket.Limits) *bucket.State {
	s := p.one(d, key, l, bucket.Op{Kind: bucket.Peek}).Results[0].State
	if s == nil {
		p.fatalf("Peek returned no state")
	}
	return s
}

// level returns the level of the bucket of a resource, which must have one.
func (p *probe) level(d driver.Driver, key string, l *bucket.Limits, resource string) float64 {
	for _, b := range p.peek(d, key, l).Buckets {
		if b.Resource == resource {
			return b.Level
		}
	}
	p.fatalf("Peek returned no bucket of %q, which the request's limits name", resource)
	return 0
}

// contend runs work on so many goroutines, which begin together: at least so many rounds each, and more where they are
// short, until some time has passed. Each goroutine stops when work returns false.
func (p *probe) contend(goroutines, rounds int, work func(r *rand.Rand, goroutine, round int) bool) {
	const least = 30 * time.Millisecond
	begin := make(chan struct{})
	var all sync.WaitGroup
	for i := range goroutines {
		r := rand.New(rand.NewPCG(p.opts.Seed, uint64(i)+1))
		all.Go(func() {
			<-begin
			until := time.Now().Add(least)
			for j := 0; j < rounds || time.Now().Before(until); j++ {
				if !work(r, i, j) {
					return
				}
			}
		})
	}
	close(begin)
	all.Wait()
}

// limits makes limits of quotas that are known to be valid.
func limits(quotas ...bucket.Quota) *bucket.Limits {
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		panic("conformance: " + err.Error()) // a mistake in the suite
	}
	return l
}

// still is a quota of so many units that refills by next to nothing while a test runs (the whole burst in ten years),
// so that levels can be reckoned without a clock.
func still(resource string, units float64) bucket.Quota {
	return bucket.Quota{Resource: resource, Limit: units, Per: bucket.MaxSpan}
}

// near compares levels of still quotas of up to some thousand units.
func near(level, want float64) bool { return level >= want && level < want+0.01 }
