package conformance_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestMemory(t *testing.T) {
	conformance.Run(t, func(testing.TB) driver.Driver { return memory.New() }, nil)
}

func TestMemoryWithClock(t *testing.T) {
	clocks := map[driver.Driver]*atomic.Int64{}
	conformance.Run(t, func(testing.TB) driver.Driver {
		set := new(atomic.Int64)
		d := memory.New(memory.WithClock(func() bucket.Micros {
			if now := set.Load(); now != 0 {
				return bucket.Micros(now)
			}
			return bucket.At(time.Now())
		}))
		clocks[d] = set
		return d
	}, &conformance.Options{
		SetClock: func(_ testing.TB, d driver.Driver, now bucket.Micros) { clocks[d].Store(int64(now)) },
	})
}
