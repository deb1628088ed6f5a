package main

import (
	"context"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululememory "github.com/ulule/limiter/v3/drivers/store/memory"
	uber "go.uber.org/ratelimit"
)

// acquirePeers are the libraries that can't give back what wasn't used, at the same three buckets. What else they can't
// do, their names say.
func acquirePeers(int) []func() (side, error) {
	return []func() (side, error){throttledMemory, ululeMemory, sethvargo, uberSide}
}

// three calls take for each of the buckets: resource and amount.
func three(name string, take func(bucket, amount int) error) side {
	return side{name: name, run: func(_, n int) error {
		for range n {
			for b, amount := range [...]int{1, reservedTokens, 1} {
				if err := take(b, amount); err != nil {
					return err
				}
			}
		}
		return nil
	}}
}

var bucketNames = [...]string{"gpt-4.1:requests:minute", "gpt-4.1:tokens:minute", "gpt-4.1:requests:day"}

func throttledMemory() (side, error) {
	store, err := memstore.NewCtx(65536)
	if err != nil {
		return side{}, err
	}
	return throttledOn(store, "3 × throttled")
}

// throttledOn uses one nanosecond a unit, the finest that throttled counts.
func throttledOn(store throttled.GCRAStoreCtx, name string) (side, error) {
	quota := throttled.RateQuota{MaxRate: throttled.PerDuration(1_000_000_000, time.Second), MaxBurst: tokenBurst}
	l, err := throttled.NewGCRARateLimiterCtx(store, quota)
	if err != nil {
		return side{}, err
	}
	l.SetMaxCASAttemptsLimit(1000)
	ctx := context.Background()
	return three(name, func(b, amount int) error {
		limited, _, err := l.RateLimitCtx(ctx, bucketNames[b], amount)
		if err == nil && limited {
			err = errRefused
		}
		return err
	}), nil
}

func ululeMemory() (side, error) {
	return ululeOn(ululememory.NewStore(), "3 × ulule/limiter"), nil
}

func ululeOn(store ulule.Store, name string) side {
	limiters := [...]*ulule.Limiter{
		ulule.New(store, ulule.Rate{Period: time.Minute, Limit: tokenBurst}),
		ulule.New(store, ulule.Rate{Period: time.Minute, Limit: tokenBurst}),
		ulule.New(store, ulule.Rate{Period: 24 * time.Hour, Limit: tokenBurst}),
	}
	ctx := context.Background()
	return three(name, func(b, amount int) error {
		c, err := limiters[b].Increment(ctx, bucketNames[b], int64(amount))
		if err == nil && c.Reached {
			err = errRefused
		}
		return err
	})
}

func sethvargo() (side, error) {
	store, err := memorystore.New(&memorystore.Config{Tokens: requestBurst, Interval: time.Minute})
	if err != nil {
		return side{}, err
	}
	ctx := context.Background()
	s := three("3 × sethvargo/go-limiter, one unit each", func(b, _ int) error {
		_, _, _, ok, err := store.Take(ctx, bucketNames[b])
		if err == nil && !ok {
			err = errRefused
		}
		return err
	})
	s.close = func() { store.Close(ctx) }
	return s, nil
}

func uberSide() (side, error) {
	limiters := [...]uber.Limiter{
		uber.New(1_000_000_000), uber.New(1_000_000_000), uber.New(1_000_000_000),
	}
	return three("3 × uber-go/ratelimit, one unit each, waiting only", func(b, _ int) error {
		limiters[b].Take()
		return nil
	}), nil
}
