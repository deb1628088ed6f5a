package throttle_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// benched is a limiter that grants everything, over three buckets a family.
func benched() *throttle.Limiter {
	return throttle.New(memory.New(), throttle.Static(
		throttle.PerMinute("requests", 1e12), throttle.PerMinute("tokens", 1e14), throttle.PerDay("requests", 1e14)))
}

var benchReserved, benchUsed = throttle.Usage{"requests": 1, "tokens": 1000}, throttle.Usage{"requests": 1, "tokens": 100}

func acquireSettle(b *testing.B, l *throttle.Limiter, model string) {
	r, err := l.Acquire(context.Background(), model, benchReserved)
	if err != nil {
		b.Error(err)
		return
	}
	if err := r.Settle(context.Background(), benchUsed); err != nil {
		b.Error(err)
	}
}

func BenchmarkAcquireSettle(b *testing.B) {
	l := benched()
	b.ReportAllocs()
	for b.Loop() {
		acquireSettle(b, l, "m")
	}
}

func BenchmarkAcquireSettleParallel(b *testing.B) {
	l := benched()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			acquireSettle(b, l, "m")
		}
	})
}

func BenchmarkAcquireSettleKeys(b *testing.B) {
	l := benched()
	models := make([]string, 10_000)
	for i := range models {
		models[i] = fmt.Sprint("model-", i)
		if _, err := l.Acquire(context.Background(), models[i], benchReserved); err != nil {
			b.Fatal(err)
		}
	}
	var goroutines atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for i := int(goroutines.Add(1)) * 7919; p.Next(); i += 104729 { // all of them, skipping about
			acquireSettle(b, l, models[i%len(models)])
		}
	})
}

func BenchmarkAcquireCancel(b *testing.B) {
	l, ctx := benched(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Acquire(ctx, "m", benchReserved)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Cancel(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTryAcquireRefused(b *testing.B) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("requests", 1)))
	ctx, one := context.Background(), throttle.Usage{"requests": 1}
	if _, err := l.TryAcquire(ctx, "m", one); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.TryAcquire(ctx, "m", one); err == nil {
			b.Fatal("granted")
		}
	}
}
