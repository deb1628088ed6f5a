package conformance_test

import (
	"testing"

	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// open opens the driver to be tested, with nothing in it.
func open(testing.TB) driver.Driver { return memory.New() }

// In a driver's own tests.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestConformance(t *testing.T)
		conformance.Run(t, open, &conformance.Options{
			// What the driver can do besides, and what the suite is to leave out.
		})
	}
}

// In a driver's own benchmarks: go test -bench Driver
func ExampleBench() {
	_ = func(b *testing.B) { // func BenchmarkDriver(b *testing.B)
		conformance.Bench(b, open)
	}
}
