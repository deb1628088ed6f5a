package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// A test of what uses the driver has its own clock.
func ExampleWithClock() {
	now := bucket.At(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	d := memory.New(memory.WithClock(func() bucket.Micros { return now }))
	defer func() { _ = d.Close() }()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 60, Per: bucket.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func() {
		responses, err := d.Apply(context.Background(), []driver.Request{{
			Key: "m", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{60}}}}})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(responses[0].Results[0].Status)
	}
	ask()
	ask()
	now += bucket.MicrosOf(time.Minute)
	ask()
	// Output:
	// granted
	// refused
	// granted
}
