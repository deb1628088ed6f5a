package driver_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/memory" // registers memory://
)

// A store is named by a URL, for programs that take it from a flag or the environment.
func ExampleOpen() {
	ctx := context.Background()
	d, err := driver.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = d.Close() }()

	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	responses, err := d.Apply(ctx, []driver.Request{{
		Key: "gpt-4.1", Limits: limits,
		Ops: []bucket.Op{
			{Kind: bucket.Acquire, Cost: []float64{800}},
			{Kind: bucket.Acquire, Cost: []float64{800}},
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range responses[0].Results {
		fmt.Println(r.Status, r.RetryAfter.Duration())
	}
	// Output:
	// granted 0s
	// refused 36s
}

// Errors say what would have been allowed.
func ExampleOpen_errors() {
	ctx := context.Background()
	_, err := driver.Open(ctx, "memory://?size=10")
	fmt.Println(err)

	var unknown *driver.UnknownSchemeError
	_, err = driver.Open(ctx, "etcd://localhost:2379")
	fmt.Println(errors.As(err, &unknown), unknown.Scheme)
	// Output:
	// driver: open "memory://?size=10": unknown option "size"; allowed: none
	// true etcd
}
