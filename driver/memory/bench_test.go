package memory_test

import (
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func BenchmarkDriver(b *testing.B) {
	conformance.Bench(b, func(testing.TB) driver.Driver { return memory.New() })
}

// BenchmarkPinned is what the limiter does: an acquire and its settlement on a key that it keeps.
func BenchmarkPinned(b *testing.B) {
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day})
	if err != nil {
		b.Fatal(err)
	}
	d := memory.New()
	key := d.Pin("k")
	take, back := []float64{1, 1000}, []float64{0, 400}
	b.ReportAllocs()
	for b.Loop() {
		op, res := bucket.Op{Kind: bucket.Acquire, Cost: take}, bucket.Result{}
		if err := driver.Do(d, key, limits, &op, &res); err != nil || res.Status != bucket.Granted {
			b.Fatal(res.Status, err)
		}
		op = bucket.Op{Kind: bucket.Adjust, Cost: back}
		if err := driver.Do(d, key, limits, &op, &res); err != nil {
			b.Fatal(err)
		}
	}
}
