package throttle_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// Why does it wait? Status says what each bucket holds, who is in line for what, which quota they wait for and how long.
func ExampleLimiter_Status() {
	ctx := context.Background()
	waiting := make(chan struct{})
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerDay("requests", 1000), throttle.PerDay("tokens", 2400)),
		throttle.WithHooks(&throttle.Hooks{WaitStarted: func(context.Context, throttle.WaitInfo) { close(waiting) }}))
	defer lim.Close()
	_, _ = lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 1, "tokens": 2400})
	go func() { _, _ = lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"tokens": 600}, throttle.Flow("batch", 1)) }()
	<-waiting

	s, err := lim.Status(ctx, "gpt-4.1")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range s.Buckets {
		fmt.Printf("%s: %.0f of %.0f\n", b.Resource, b.Level, b.Limit)
	}
	for i, p := range s.Line { // who is ahead of a place stands before it
		fmt.Printf("place %d: %s wants %v, waits for %s, expected in %v\n", i+1, p.Flow, p.Usage, p.Resource, p.Expected.Round(time.Minute))
	}
	// Output:
	// requests: 999 of 1000
	// tokens: 0 of 2400
	// place 1: batch wants map[tokens:600], waits for tokens, expected in 6h0m0s
}

// A page of one's own goes through what the limiter has seen.
func ExampleLimiter_FamilyStatus() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerHour("requests", 60)))
	defer lim.Close()
	for _, model := range []string{"gpt-4.1", "o3"} {
		_, _ = lim.Acquire(ctx, model, throttle.Usage{"requests": 1})
	}
	for _, family := range lim.Families() {
		s, err := lim.FamilyStatus(ctx, family)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %.0f of %.0f\n", s.Family, s.Buckets[0].Level, s.Buckets[0].Limit)
	}
	// Output:
	// gpt-4.1 59 of 60
	// o3 59 of 60
}

// A program that isn't the limiter's looks into the store itself.
func ExampleStatusOf() {
	ctx, store := context.Background(), memory.New()
	lim := throttle.New(store, throttle.Static(throttle.PerDay("requests", 100)))
	defer lim.Close()
	_, _ = lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 30})

	responses, err := store.Apply(ctx, []driver.Request{{Key: "gpt-4.1", Ops: []bucket.Op{{Kind: bucket.Peek}}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := throttle.StatusOf("gpt-4.1", responses[0].Results[0].State)
	fmt.Printf("%.0f\n", s.Buckets[0].Level)
	// Output: 70
}

// Hooks come and go with who looks.
func ExampleLimiter_Watch() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()
	count := &throttle.Hooks{Settled: func(_ context.Context, i throttle.SettledInfo) {
		fmt.Println("reserved", i.Reserved(), "used", i.Used, "refunded", i.Refunded(), "owed", i.Debt().Of("tokens"))
	}}
	note := &throttle.Hooks{Acquired: func(_ context.Context, i throttle.AcquiredInfo) {
		fmt.Println("granted", i.Usage().Map())
	}}
	stop := lim.Watch(throttle.JoinHooks(count, note))
	r, _ := lim.Acquire(ctx, "m", throttle.Usage{"tokens": 700})
	_ = r.Settle(ctx, throttle.Usage{"tokens": 250})
	stop()
	_, _ = lim.Acquire(ctx, "m", throttle.Usage{"tokens": 1}) // nobody is told
	fmt.Println("waited", r.Waited())
	// Output:
	// granted map[tokens:700]
	// reserved tokens=700 used tokens=250 refunded tokens=450 owed 0
	// waited 0s
}

// What hooks are given is read without a map: each amount by its resource, or all of them in order.
func ExampleAmounts() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 60), throttle.PerMinute("tokens", 1000), throttle.PerDay("dollars", 5)),
		throttle.WithHooks(&throttle.Hooks{Acquired: func(_ context.Context, i throttle.AcquiredInfo) {
			usage := i.Usage()
			fmt.Println(usage.Resources(), usage.Units())
			for resource, units := range usage.All() { // those that are 0 left out
				fmt.Println(resource, units)
			}
		}}))
	defer lim.Close()
	_, _ = lim.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 700})
	// Output:
	// [dollars requests tokens] [0 1 700]
	// requests 1
	// tokens 700
}

// How a limiter deals with a store and with those who wait can be set. These are the defaults for a shared store.
func ExampleNew_options() {
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)),
		throttle.StoreTimeout(5*time.Second),        // one round trip
		throttle.PollInterval(100*time.Millisecond), // how often a place in line asks again
		throttle.LeaseGrace(2*time.Second),          // how late it may be before it is dropped
		throttle.MaxWaiters(1_000_000))              // how many calls may wait, of all families
	defer lim.Close()
}
