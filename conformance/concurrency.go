package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// concurrency has the clauses about many callers at once.
func concurrency() []clause {
	return []clause{
		{name: "concurrent/goroutines", quote: "Its methods are safe for concurrent use.", test: func(p *probe) {
			p.takeAndGive(p.open())
		}},
		{name: "concurrent/order", quote: "no other request on its key is applied between reading and writing the state.", test: crossedBatches},
		{name: "concurrent/instances", quote: "no other request on its key is applied between reading and writing the state.", needs: needsAnother, test: func(p *probe) {
			d := p.open()
			p.takeAndGive(d, p.another(d), p.another(d), p.another(d))
		}},
	}
}

// takeAndGive lets goroutines take and give back on a few keys through several instances. No time passes for the quotas,
// so that in the end the levels say exactly what was granted and credited.
func (p *probe) takeAndGive(instances ...driver.Driver) {
	const burst = 10_000
	l := limits(still("requests", burst), still("tokens", 10*burst))
	keys := []string{"hot", "warm"}
	var mu sync.Mutex
	taken := map[string][2]float64{}
	p.contend(8, 12, func(r *rand.Rand, goroutine, _ int) bool {
		key := keys[r.IntN(4)/3]
		give := [2]float64{float64(r.IntN(2)), float64(r.IntN(20))}
		take := [2]float64{give[0] + float64(r.IntN(3)), give[1] + float64(r.IntN(20))}
		ops := []bucket.Op{acquire(take[:]...), adjust(give[:]...)}
		ops[1].After = true // a credit for what was granted only: it never meets the burst
		o := p.call(context.Background(), instances[goroutine%len(instances)], driver.Request{Key: key, Limits: l, Ops: ops})
		if o.err != nil || o.hung {
			p.errorf("Apply: %v", o.err)
			return false
		}
		if o.responses[0].Results[0].Status == bucket.Granted {
			mu.Lock()
			defer mu.Unlock()
			was := taken[key]
			taken[key] = [2]float64{was[0] + take[0] - give[0], was[1] + take[1] - give[1]}
		}
		return true
	})
	for i, d := range instances {
		for _, key := range keys {
			for j, resource := range []string{"requests", "tokens"} {
				want := []float64{burst, 10 * burst}[j] - taken[key][j]
				if level := p.level(d, key, l, resource); !near(level, want) {
					p.errorf("by instance %d, key %s has %v %s left, want %v: an update was lost or applied twice", i, key, level, resource, want)
				}
			}
		}
	}
}

// crossedBatches sends batches that name the same keys in different orders, which locks taken in the order of a batch
// don't survive.
func crossedBatches(p *probe) {
	d := p.open()
	const keys, burst = 8, 1e4
	l := limits(still("tokens", burst))
	var rounds atomic.Int64
	p.contend(6, 10, func(r *rand.Rand, _, _ int) bool {
		var batch []driver.Request
		for _, k := range r.Perm(keys) {
			batch = append(batch, driver.Request{Key: fmt.Sprint("key-", k), Limits: l, Ops: []bucket.Op{record(1)}})
		}
		if o := p.call(context.Background(), d, batch...); o.err != nil || o.hung {
			p.errorf("Apply of a batch of %d keys in an order of its own: %v", keys, o.err)
			return false
		}
		rounds.Add(1)
		return true
	})
	for k := range keys {
		key, want := fmt.Sprint("key-", k), burst-float64(rounds.Load())
		if p.failed() {
			return
		}
		if level := p.level(d, key, l, "tokens"); !near(level, want) {
			p.errorf("key %s has a level of %v after %d debits of 1, want %v", key, level, rounds.Load(), want)
		}
	}
}
