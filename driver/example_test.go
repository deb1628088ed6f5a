package driver_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

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

// What this program can open depends on the driver packages that it imports.
func ExampleSchemes() {
	fmt.Println(slices.Contains(driver.Schemes(), "memory"))
	// Output: true
}

// A driver reads its options from its URL; what is malformed, or that nobody asked for, is an error.
func ExampleQuery() {
	u, err := url.Parse("mystore://host/limits?timeout=2s&retries=many&colour=red")
	if err != nil {
		fmt.Println(err)
		return
	}
	q := driver.NewQuery(u)
	fmt.Println(q.Duration("timeout", 5*time.Second), q.Int("retries", 3, 0))
	fmt.Println(q.Err() != nil)
	// Output:
	// 2s 3
	// true
}

// A driver whose connection can lose an answer names its batches, so that what is sent again isn't applied again.
func ExampleNamer() {
	names := driver.NewNamer()               // one for each driver
	name := names.Take()                     // for one batch, and its retries
	_ = bucket.Request{Batch: name.String()} // what the store applies; Retry is set when it is sent again
	name.Done()
}
