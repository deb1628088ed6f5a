package throttle_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// still is a store whose clock stands still, so that the examples print the same levels each time.
func still() *memory.Driver {
	return memory.New(memory.WithClock(func() bucket.Micros { return 1_750_000_000 * bucket.Second }))
}

// print shows a family's levels.
func print(lim *throttle.Limiter, model string) {
	status, err := lim.Status(context.Background(), model)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range status.Buckets {
		fmt.Printf("%s per %v: %v of %v\n", b.Resource, b.Per, b.Level, b.Limit)
	}
}

func Example() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(
		throttle.PerMinute("requests", 10_000),
		throttle.PerMinute("tokens", 2_000_000),
		throttle.PerDay("requests", 1_000_000)))
	defer lim.Close()

	res, err := lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 1, "tokens": 14_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	print(lim, "gpt-4.1")

	// … the call …

	if err := res.Settle(ctx, throttle.Usage{"tokens": 1_250}); err != nil {
		fmt.Println(err)
	}
	fmt.Println("after the call:")
	print(lim, "gpt-4.1")
	// Output:
	// requests per 1m0s: 9999 of 10000
	// requests per 24h0m0s: 999999 of 1e+06
	// tokens per 1m0s: 1.986e+06 of 2e+06
	// after the call:
	// requests per 1m0s: 9999 of 10000
	// requests per 24h0m0s: 999999 of 1e+06
	// tokens per 1m0s: 1.99875e+06 of 2e+06
}

func ExampleLimiter_TryAcquire() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("requests", 60)))
	defer lim.Close()

	for range 61 {
		if _, err := lim.TryAcquire(ctx, "m", throttle.Usage{"requests": 1}); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// throttle: m: requests per 1m exhausted, place 1 in line, retry in 1s
}

func ExampleLimiter_Do() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	err := lim.Do(ctx, "m", throttle.Usage{"tokens": 400}, func(context.Context) (throttle.Usage, error) {
		// … the call …
		return throttle.Usage{"tokens": 150}, nil
	})
	fmt.Println(err)
	print(lim, "m")
	// Output:
	// <nil>
	// tokens per 1m0s: 850 of 1000
}

func ExampleLimiter_AcquireFor() {
	ctx := context.Background()
	quotas := []throttle.Quota{throttle.PerMinute("requests", 100), throttle.PerMinute("words", 1000)}
	words := func(_ context.Context, _ string, request any) (throttle.Usage, error) {
		return throttle.Usage{"requests": 1, "words": float64(len(request.([]string)))}, nil
	}
	lim := throttle.New(still(), func(_ context.Context, model string) (throttle.Model, error) {
		return throttle.Model{Family: model, Quotas: quotas, Counter: words}, nil
	})
	defer lim.Close()

	res, err := lim.AcquireFor(ctx, "m", []string{"to", "be", "or", "not"}, throttle.Usage{"words": 50})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Reserved())
	// Output:
	// map[requests:1 words:54]
}

func ExampleLimiter_Record() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	// Used already, whether it fitted or not: the debt is paid off before anything is granted.
	if err := lim.Record(ctx, "m", throttle.Usage{"tokens": 1200}); err != nil {
		fmt.Println(err)
	}
	print(lim, "m")
	// Output:
	// tokens per 1m0s: -200 of 1000
}

func ExampleLimiter_SetLimit() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	if err := lim.SetLimit(ctx, "m", throttle.PerMinute("tokens", 400)); err != nil {
		fmt.Println(err)
	}
	print(lim, "m")
	if err := lim.ClearLimit(ctx, "m", "tokens", time.Minute); err != nil {
		fmt.Println(err)
	}
	print(lim, "m") // the level stays: what a lower limit took comes back by refill
	// Output:
	// tokens per 1m0s: 400 of 400
	// tokens per 1m0s: 400 of 1000
}

func ExampleLimiter_Pause() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("requests", 60)))
	defer lim.Close()

	// The provider answered 429 with Retry-After: 20.
	if err := lim.Pause(ctx, "m", 20*time.Second); err != nil {
		fmt.Println(err)
	}
	_, err := lim.TryAcquire(ctx, "m", throttle.Usage{"requests": 1})
	fmt.Println(err)
	// Output:
	// throttle: m: paused, place 1 in line, retry in 20s
}

func ExampleLimiter_Observe() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	// x-ratelimit-remaining-tokens: 300, since somebody else uses the key too.
	if err := lim.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: 300}); err != nil {
		fmt.Println(err)
	}
	print(lim, "m")
	// Output:
	// tokens per 1m0s: 300 of 1000
}

func ExampleReservation_Cancel() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	res, err := lim.Acquire(ctx, "m", throttle.Usage{"tokens": 900})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := res.Cancel(ctx); err != nil { // the call was never made
		fmt.Println(err)
	}
	print(lim, "m")
	// Output:
	// tokens per 1m0s: 1000 of 1000
}

// One key, two programs: each flow gets what it needs up to its share, and what one leaves the other uses.
func ExampleFlow() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerSecond("tokens", 100_000)))
	defer lim.Close()

	res, err := lim.Acquire(ctx, "m", throttle.Usage{"tokens": 500}, throttle.Flow("production", 1))
	fmt.Println(res.Reserved(), err)
	res, err = lim.Acquire(ctx, "m", throttle.Usage{"tokens": 9000}, throttle.Flow("batch", 1))
	fmt.Println(res.Reserved(), err)
	// Output:
	// map[tokens:500] <nil>
	// map[tokens:9000] <nil>
}

func ExamplePriority() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerSecond("requests", 100)))
	defer lim.Close()

	_, err := lim.Acquire(ctx, "m", throttle.Usage{"requests": 1}, throttle.Priority(10))
	fmt.Println(err)
	// Output:
	// <nil>
}

func ExampleFailFast() {
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("requests", 1)))
	defer lim.Close()
	_, _ = lim.TryAcquire(context.Background(), "m", throttle.Usage{"requests": 1})

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := lim.Acquire(ctx, "m", throttle.Usage{"requests": 1}, throttle.FailFast())
	fmt.Println(err) // at once, not after 10 s
	// Output:
	// throttle: m: the wait of 1m0s would pass the deadline
}

func ExampleScale() {
	ctx := context.Background()
	models := throttle.Static(throttle.PerMinute("tokens", 1000))
	batch := throttle.New(still(), throttle.Scale(models, "batch", 0.9))
	defer batch.Close()

	print(batch, "m")
	_, err := batch.Acquire(ctx, "m", throttle.Usage{"tokens": 950})
	fmt.Println(err)
	// Output:
	// tokens per 1m0s: 900 of 900
	// throttle: @batch@m: 950 tokens at once can never fit into 900 per 1m: ask for less, or raise the burst
}

func ExampleTable() {
	ctx := context.Background()
	gpt := throttle.Model{Family: "gpt-4.1", Quotas: []throttle.Quota{throttle.PerMinute("requests", 500)}}
	lim := throttle.New(still(), throttle.Table(map[string]throttle.Model{
		"gpt-4.1":            gpt,
		"gpt-4.1-2025-04-14": gpt, // an alias: the same buckets
		"local":              {Unlimited: true},
	}))
	defer lim.Close()

	_, _ = lim.Acquire(ctx, "gpt-4.1-2025-04-14", throttle.Usage{"requests": 1})
	print(lim, "gpt-4.1")
	_, err := lim.Acquire(ctx, "gpt-9", throttle.Usage{"requests": 1})
	fmt.Println(err)
	// Output:
	// requests per 1m0s: 499 of 500
	// throttle: model "gpt-9": not in the table of models
}

func ExampleShared() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Shared("key-1", throttle.PerDay("dollars", 25)))
	defer lim.Close()

	_, _ = lim.Acquire(ctx, "gpt-4.1", throttle.Usage{"dollars": 0.25})
	_, _ = lim.Acquire(ctx, "o3", throttle.Usage{"dollars": 1.5})
	print(lim, "any")
	// Output:
	// dollars per 24h0m0s: 23.25 of 25
}

func ExampleUnlimited() {
	lim := throttle.New(still(), throttle.Unlimited())
	defer lim.Close()
	res, err := lim.Acquire(context.Background(), "m", throttle.Usage{"tokens": 1e9})
	fmt.Println(res.Family() == "", err)
	// Output:
	// true <nil>
}

func ExampleQuota_WithBurst() {
	// Azure counts 600 requests a minute as 100 in each 10 seconds.
	q := throttle.PerMinute("requests", 600).WithBurst(100)
	fmt.Println(q.Limit, q.Per, q.Burst)
	// Output:
	// 600 1m0s 100
}

func ExampleHooks() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)), throttle.WithHooks(&throttle.Hooks{
		Acquired: func(_ context.Context, i throttle.AcquiredInfo) { fmt.Println("acquired", i.Usage()) },
		Settled: func(_ context.Context, i throttle.SettledInfo) {
			fmt.Println("used", i.Used.Of("tokens"), "refunded", i.Refunded().Of("tokens"))
		},
		Refused: func(_ context.Context, i throttle.RefusedInfo) { fmt.Println("refused", i.Usage()) },
	}))
	defer lim.Close()

	_ = lim.Do(ctx, "m", throttle.Usage{"tokens": 900}, func(context.Context) (throttle.Usage, error) {
		_, _ = lim.TryAcquire(ctx, "m", throttle.Usage{"tokens": 200})
		return throttle.Usage{"tokens": 300}, nil
	})
	// Output:
	// acquired tokens=900
	// refused tokens=200
	// used 300 refunded 600
}

func ExampleSlogHooks() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "flow" {
				return slog.Attr{}
			}
			return a
		},
	}))
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 1000)), throttle.WithHooks(throttle.SlogHooks(logger)))
	defer lim.Close()

	_, _ = lim.TryAcquire(context.Background(), "m", throttle.Usage{"tokens": 2000})
	// Output:
	// level=INFO msg="throttle: refused" model=m family=m usage.tokens=2000 err="throttle: m: 2000 tokens at once can never fit into 1000 per 1m: ask for less, or raise the burst"
}
