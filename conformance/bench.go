package conformance

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Bench measures what a limiter asks of a driver, over three buckets a key (requests a minute, tokens a minute, requests
// a day): a lone request, one that is refused, and the batches that the limiter's group commit makes of many callers, on
// one hot key and on many keys; also batches sent at the same time, as other processes would. It reports ns/request
// beside ns/op, which counts batches. open is as for [Run].
func Bench(b *testing.B, open func(tb testing.TB) driver.Driver) {
	const size, keys = 64, 10_000
	l := limits(
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day})
	take := []bucket.Op{acquire(1, 1000)}
	takeAndSettle := []bucket.Op{acquire(1, 1000), adjust(0, 400)}
	hot := func(int) string { return "hot" }
	many := func(i int) string { return fmt.Sprint("key-", i*7919%keys) }

	for _, w := range []workload{
		{name: "acquire", limits: l, key: hot, ops: take},
		{name: "acquire-settle", limits: l, key: hot, ops: takeAndSettle},
		{name: "refused", limits: limits(still("requests", 1)), key: hot, before: []bucket.Op{acquire(1)}, ops: []bucket.Op{acquire(1)}},
		{name: "batch-hot", limits: l, size: size, key: hot, ops: takeAndSettle},
		{name: "batch-keys", limits: l, size: size, key: many, ops: takeAndSettle},
	} {
		b.Run(w.name, func(b *testing.B) { w.run(b, open(b)) })
	}
	b.Run("parallel-hot", func(b *testing.B) { workload{limits: l, key: hot, ops: takeAndSettle}.parallel(b, open(b)) })
	b.Run("parallel-keys", func(b *testing.B) { workload{limits: l, key: many, ops: takeAndSettle}.parallel(b, open(b)) })
}

// workload is what is sent again and again.
type workload struct {
	name   string
	limits *bucket.Limits
	size   int // requests a batch; 0 means 1
	key    func(i int) string
	before []bucket.Op // once
	ops    []bucket.Op
}

// run applies one batch after another.
func (w workload) run(b *testing.B, d driver.Driver) {
	defer closeAfter(b, d)
	if _, err := d.Apply(context.Background(), []driver.Request{{Key: w.key(0), Limits: w.limits, Ops: w.before}}); err != nil {
		b.Fatal(err)
	}
	batch := make([]driver.Request, max(1, w.size))
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = driver.Request{Key: w.key(next), Limits: w.limits, Ops: w.ops}
			next++
		}
		if _, err := d.Apply(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/request")
}

// parallel applies batches of one request at the same time, eight for each processor.
func (w workload) parallel(b *testing.B, d driver.Driver) {
	defer closeAfter(b, d)
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		batch := make([]driver.Request, 1)
		for pb.Next() {
			batch[0] = driver.Request{Key: w.key(int(next.Add(1))), Limits: w.limits, Ops: w.ops}
			if _, err := d.Apply(context.Background(), batch); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func closeAfter(b *testing.B, d driver.Driver) {
	if err := d.Close(); err != nil {
		b.Error(err)
	}
}
