package conformance

import (
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// batches are the clauses about several requests at once.
func batches() []clause {
	return []clause{
		{name: "batches/same-key", quote: "A key may appear more than once in a batch; its requests are applied in the order given.", test: sameKeyInOrder},
		{name: "batches/large", quote: "Apply carries out each request against the state of its key and returns a response for each, in order.", test: largeBatch},
	}
}

func sameKeyInOrder(p *probe) {
	d := p.open()
	l := limits(still("tokens", 100))
	request := func(key string, op bucket.Op) driver.Request {
		return driver.Request{Key: key, Limits: l, Ops: []bucket.Op{op}}
	}
	r := p.apply(d,
		request("b", acquire(100)), request("a", acquire(60)), request("b", acquire(1)), request("b", adjust(50)),
		request("a", acquire(60)), request("b", acquire(50)), request("a", adjust(60)), request("b", acquire(1)), request("a", acquire(100)))
	want := []bucket.Status{
		bucket.Granted, bucket.Granted, bucket.Refused, bucket.Done,
		bucket.Refused, bucket.Granted, bucket.Done, bucket.Refused, bucket.Granted,
	}
	for i := range want {
		if got := r[i].Results[0].Status; got != want[i] {
			p.errorf("request %d of the batch: %v, want %v: each of a key finds what those before it left", i, got, want[i])
		}
	}
	for _, key := range []string{"a", "b"} {
		if level := p.level(d, key, l, "tokens"); !near(level, 0) {
			p.errorf("after the batch, key %s has a level of %v, want 0", key, level)
		}
	}
}

func largeBatch(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	m := newModel()
	for range 2 {
		var batch []driver.Request
		for i := range 300 {
			batch = append(batch, driver.Request{Key: fmt.Sprint("key-", i*7%101), Limits: l, Ops: []bucket.Op{acquire(float64(1 + i)), peekOp}})
		}
		p.following(m, d, batch...)
	}
}
