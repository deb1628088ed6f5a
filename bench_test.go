package throttle_test

import (
	"context"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func BenchmarkAcquireSettle(b *testing.B) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 1e12), throttle.PerMinute("tokens", 1e14), throttle.PerDay("requests", 1e14)))
	ctx, reserve, actual := context.Background(), throttle.Usage{"requests": 1, "tokens": 1000}, throttle.Usage{"requests": 1, "tokens": 100}
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Acquire(ctx, "m", reserve)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Settle(ctx, actual); err != nil {
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
