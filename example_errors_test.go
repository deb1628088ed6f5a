package throttle_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

func ExampleCapacityError() {
	ctx := context.Background()
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 600)))
	defer lim.Close()
	_, _ = lim.TryAcquire(ctx, "m", throttle.Usage{"tokens": 600})

	_, err := lim.TryAcquire(ctx, "m", throttle.Usage{"tokens": 20})
	var full *throttle.CapacityError
	if errors.As(err, &full) {
		fmt.Println(full.Resource, full.Per, full.RetryAfter, errors.Is(err, throttle.ErrNoCapacity))
	}
	// Output:
	// tokens 1m0s 2s true
}

func ExampleTooLargeError() {
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 600)))
	defer lim.Close()

	_, err := lim.Acquire(context.Background(), "m", throttle.Usage{"tokens": 700})
	var large *throttle.TooLargeError
	if errors.As(err, &large) {
		fmt.Println(large.Resource, large.Usage, large.Burst)
	}
	// Output:
	// tokens 700 600
}

func ExampleDeadlineError() {
	lim := throttle.New(still(), throttle.Static(throttle.PerDay("tokens", 600)))
	defer lim.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 1e9)
	defer cancel()
	_, _ = lim.TryAcquire(ctx, "m", throttle.Usage{"tokens": 600})

	_, err := lim.Acquire(ctx, "m", throttle.Usage{"tokens": 1}, throttle.FailFast())
	var predicted *throttle.DeadlineError
	fmt.Println(errors.As(err, &predicted), errors.Is(err, context.DeadlineExceeded), ctx.Err())
	// Output:
	// true true <nil>
}

func ExampleUsageError() {
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 600)))
	defer lim.Close()

	_, err := lim.Acquire(context.Background(), "m", throttle.Usage{"token": 1})
	fmt.Println(err)
	_, err = lim.Acquire(context.Background(), "m", throttle.Usage{"tokens": -1})
	fmt.Println(err)
	// Output:
	// throttle: m: no quota limits "token": its resources are tokens
	// throttle: m: usage of -1 tokens: want 0 to 1e+15
}

func ExampleModelError() {
	lim := throttle.New(still(), throttle.Table(map[string]throttle.Model{"m": {}}))
	defer lim.Close()

	_, err := lim.Acquire(context.Background(), "m", throttle.Usage{"tokens": 1})
	var model *throttle.ModelError
	fmt.Println(errors.As(err, &model), errors.Is(err, throttle.ErrNoQuotas))
	// Output:
	// true true
}

func ExampleArgumentError() {
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 600)))
	defer lim.Close()

	_, err := lim.Acquire(context.Background(), "m", nil, throttle.Flow("batch", -1))
	fmt.Println(err)
	// Output:
	// throttle: weight is -1: want 1e-6 to 1e6
}

func ExampleFullError() {
	lim := throttle.New(still(), throttle.Static(throttle.PerMinute("tokens", 600)), throttle.MaxFamilies(1))
	defer lim.Close()

	_, err := lim.Acquire(context.Background(), "a", throttle.Usage{"tokens": 1})
	fmt.Println(err)
	_, err = lim.Acquire(context.Background(), "b", throttle.Usage{"tokens": 1})
	fmt.Println(err)
	// Output:
	// <nil>
	// throttle: there are 1 families already: raise the limit, or slow down
}

func ExampleStoreError() {
	store := still()
	lim := throttle.New(store, throttle.Static(throttle.PerMinute("tokens", 600)))
	defer lim.Close()
	store.Close()

	_, err := lim.Acquire(context.Background(), "m", throttle.Usage{"tokens": 1})
	var failed *throttle.StoreError
	fmt.Println(errors.As(err, &failed), errors.Is(err, driver.ErrClosed))
	// Output:
	// true true
}
