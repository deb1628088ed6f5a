package bucket_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// A key under two limits: what a call may use is taken from both, and what it didn't use goes back.
func Example() {
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 60, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 6000, Per: bucket.Minute},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	var state bucket.State // nobody has used it: every bucket is full
	now := bucket.Micros(1_700_000_000_000_000)
	do := func(op bucket.Op) bucket.Result {
		results := make([]bucket.Result, 1)
		state.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{op}}, results)
		return results[0]
	}
	fmt.Println(limits.Resources())

	reserve := []float64{1, 4000} // in that order
	fmt.Println(do(bucket.Op{Kind: bucket.Acquire, Cost: reserve}).Status)

	again := do(bucket.Op{Kind: bucket.Acquire, Cost: reserve})
	fmt.Println(again.Status, limits.Quota(again.Quota).Resource, again.RetryAfter.Duration())

	do(bucket.Op{Kind: bucket.Adjust, Cost: []float64{0, 4000 - 900}}) // the first used 900 tokens
	fmt.Println(do(bucket.Op{Kind: bucket.Acquire, Cost: reserve}).Status)
	// Output:
	// [requests tokens]
	// granted
	// refused tokens 20s
	// granted
}

// Two flows wait for the same key. The one that has had less is served first, though it came later.
func ExampleState_Apply_line() {
	limits, _ := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
	var state bucket.State
	now := bucket.Micros(1_700_000_000_000_000)
	do := func(op bucket.Op) bucket.Result {
		results := make([]bucket.Result, 1)
		state.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{op}}, results)
		return results[0]
	}
	ask := func(place, flow string) {
		r := do(bucket.Op{Kind: bucket.Acquire, Cost: []float64{100}, Place: place, Flow: flow, Poll: 30 * bucket.Second, Grace: bucket.Second})
		fmt.Printf("%s: %v, place %d, ask again in %v\n", place, r.Status, r.Place, r.RetryAfter.Duration())
	}
	do(bucket.Op{Kind: bucket.Acquire, Cost: []float64{600}}) // nothing is left
	ask("batch 1", "batch")
	ask("batch 2", "batch")
	ask("production 1", "production")
	// Output:
	// batch 1: refused, place 1, ask again in 10s
	// batch 2: refused, place 2, ask again in 20s
	// production 1: refused, place 2, ask again in 20s
}

// A repeat of a request whose answer was lost does nothing twice.
func ExampleRequest() {
	limits, _ := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
	var state bucket.State
	now := bucket.Micros(1_700_000_000_000_000)
	request := bucket.Request{
		Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{400}}, {Kind: bucket.Peek}}, Batch: "client-7/1",
	}
	results := make([]bucket.Result, 2)
	state.Apply(now, &request, results)
	fmt.Println(results[0].Status, results[1].State.Buckets[0].Level)

	request.Retry, request.Since = true, now
	state.Apply(now, &request, results)
	fmt.Println(results[0].Status, results[1].State.Buckets[0].Level)
	// Output:
	// granted 200
	// granted 200
}

func ExampleNewLimits() {
	_, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: -1, Per: bucket.Minute})
	fmt.Println(err)
	// Output: bucket: quota of "tokens": limit -1: want more than 0 and at most 1e+15 units
}

// A driver may drop a key once it equals an absent one.
func ExampleState_AbsentAt() {
	limits, _ := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
	var state bucket.State
	now := bucket.Micros(1_700_000_000_000_000)
	state.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{900}}}}, make([]bucket.Result, 1))
	fmt.Println((state.AbsentAt() - now).Duration(), state.Absent(now))
	// Output: 1m30s false
}

func ExampleState_Encode() {
	limits, _ := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
	var state bucket.State
	state.Apply(5, &bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{0.5}}}}, make([]bucket.Result, 1))
	text := state.Encode(nil)
	fmt.Printf("%s\n", text)

	var read bucket.State
	fmt.Println(read.Decode(text), read.Buckets[0].Level)
	// Output:
	// {"version":1,"at":5,"buckets":[{"resource":"tokens","per":60000000,"limit":600,"burst":600,"level":599.5}]}
	// <nil> 599.5
}

func ExampleVersionError() {
	var state bucket.State
	err := state.Decode([]byte(`{"version":2,"levels":[1,2,3]}`))
	var other *bucket.VersionError
	fmt.Println(errors.As(err, &other), other.Version)
	// Output: true 2
}

// After a credit, a driver tells those whom it is worth waking.
func ExampleState_Ready() {
	limits, _ := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
	var state bucket.State
	now := bucket.Micros(1_700_000_000_000_000)
	results := make([]bucket.Result, 4)
	state.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{
		{Kind: bucket.Acquire, Cost: []float64{600}},
		{Kind: bucket.Acquire, Cost: []float64{100}, Place: "a"},
		{Kind: bucket.Acquire, Cost: []float64{100}, Place: "b"},
		{Kind: bucket.Adjust, Cost: []float64{150}},
	}}, results)
	state.Ready(now, func(place string) bool { fmt.Println(place); return true })
	// Output: a
}

// Instants and spans are whole microseconds; a span is rounded up, so that no wait ends early.
func ExampleMicros() {
	now := bucket.At(time.Date(2026, 1, 1, 0, 0, 0, 1500, time.UTC))
	fmt.Println(now.Time().UTC().Format(time.RFC3339Nano), bucket.MicrosOf(1500*time.Nanosecond).Duration())
	// Output: 2026-01-01T00:00:00.000001Z 2µs
}

func ExampleValidName() {
	fmt.Println(bucket.ValidName("output tokens"), bucket.ValidName(""), bucket.ValidName("a\nb"))
	// Output: true false false
}
