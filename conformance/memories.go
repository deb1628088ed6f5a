package conformance

import (
	"fmt"
	"math"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// memories are the clauses about memory that isn't the driver's.
func memories() []clause {
	return []clause{
		{name: "memory/batch", quote: "Apply keeps neither the batch nor anything it points to after it has returned", test: batchNotKept},
		{name: "memory/unchanged", quote: "Apply carries out each request against the state of its key", test: batchUnchanged},
	}
}

// scramble overwrites everything a batch points to, as a caller does who uses it again.
func scramble(batch []driver.Request) {
	for i := range batch {
		for j := range batch[i].Ops {
			o := &batch[i].Ops[j]
			for k := range o.Cost {
				o.Cost[k] = 77
			}
			*o = bucket.Op{Kind: bucket.Record, Cost: o.Cost}
		}
		batch[i] = driver.Request{Key: "scrambled"}
	}
}

func batchNotKept(p *probe) {
	d := p.open()
	m := newModel()
	l := limits(still("requests", 100), still("tokens", 1000))
	// One slice of costs for a whole life of a limiter.
	requests, ops, cost := make([]driver.Request, 2), make([]bucket.Op, 3), make([]float64, 2)
	for i := range 20 {
		for j := range requests {
			cost[0], cost[1] = float64(i%3), float64(i)
			ops[0], ops[1], ops[2] = acquire(cost...), wait(fmt.Sprint("place-", i%4), 90, 900), peekOp
			ops[0].Cost = cost
			requests[j] = driver.Request{Key: fmt.Sprint("key-", (i+j)%3), Limits: l, Ops: ops}
		}
		p.following(m, d, requests...)
		scramble(requests)
		for j := range ops {
			ops[j] = record(math.MaxInt16)
		}
	}
	for _, key := range m.keys() {
		p.following(m, d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{peekOp}})
	}
}

func batchUnchanged(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	ops := []bucket.Op{acquire(60), wait("place", 70), adjust(-5), record(math.Nextafter(1, 2)), peekOp}
	batch := []driver.Request{{Key: "b", Limits: l, Ops: ops}, {Key: "a", Limits: l, Ops: ops}, {Key: "b", Limits: l}}
	before := fmt.Sprintf("%+v", batch)
	p.apply(d, batch...)
	if after := fmt.Sprintf("%+v", batch); after != before {
		p.errorf("Apply changed the batch from %s to %s", before, after)
	}
}
