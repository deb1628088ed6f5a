package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

var (
	reserved = throttle.Usage{"requests": 1, "tokens": reservedTokens}
	used     = throttle.Usage{"requests": 1, "tokens": usedTokens}
)

// quotas are the three buckets of every contest.
func quotas() throttle.Models {
	return throttle.Static(
		throttle.PerMinute("requests", requestsPerMinute).WithBurst(requestBurst),
		throttle.PerMinute("tokens", tokensPerMinute).WithBurst(tokenBurst),
		throttle.PerDay("requests", requestsPerDay).WithBurst(requestBurst),
	)
}

// names makes n keys.
func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("model-%06d", i)
	}
	return list
}

// next walks through n keys, from another start for each goroutine, with a stride that visits all and skips about.
func next(g, i, n int) int {
	if n == 1 {
		return 0
	}
	return (g*7919 + i*104729) % n
}

// limiter is our side on a driver: acquire and, unless only that is asked for, settle.
func limiter(d driver.Driver, keys int, settle bool) side {
	l := throttle.New(d, quotas())
	models := names(keys)
	ctx := context.Background()
	for _, m := range models {
		_, err := l.Acquire(ctx, m, throttle.Usage{"requests": inUse, "tokens": inUse})
		warn(err)
	}
	return side{
		name: "throttle",
		run: func(g, n int) error {
			for i := range n {
				r, err := l.Acquire(ctx, models[next(g, i, keys)], reserved)
				if err != nil {
					return err
				}
				if settle {
					if err := r.Settle(ctx, used); err != nil {
						return err
					}
				}
			}
			return nil
		},
		close: func() { l.Close(); d.Close() },
	}
}

// xtime is three x/time/rate limiters a key.
func xtime(t table, keys int, settle func(*composed, held, int), name string) side {
	models := names(keys)
	hot := t.get(models[0])
	for _, m := range models {
		t.get(m).use()
	}
	return side{
		name: name,
		run: func(g, n int) error {
			for i := range n {
				c := hot // a program with one key needs no table
				if keys > 1 {
					c = t.get(models[next(g, i, keys)])
				}
				h, ok := c.acquire(reservedTokens)
				if !ok {
					return errRefused
				}
				if settle != nil {
					settle(c, h, usedTokens)
				}
			}
			return nil
		},
	}
}

// mutex is the floor in memory: one lock, one addition, twice if there is a settle.
func mutex(times int) side {
	var mu sync.Mutex
	level := 0
	return side{
		name: "a mutex",
		run: func(_, n int) error {
			for range n * times {
				mu.Lock()
				level++
				mu.Unlock()
			}
			return nil
		},
	}
}

func memoryContests() []contest {
	ours := func(keys int, settle bool) func() (side, error) {
		return func() (side, error) { return limiter(memory.New(), keys, settle), nil }
	}
	composed3 := func(keys int, settle bool) func() (side, error) {
		return func() (side, error) {
			t := &locked{m: map[string]*composed{}}
			switch {
			case !settle:
				return xtime(t, keys, nil, "3 × x/time/rate ReserveN"), nil
			case keys > 1:
				return xtime(t, keys, (*composed).settle, "3 × x/time/rate, Reserve and Cancel, in a map with a lock"), nil
			}
			return xtime(t, keys, (*composed).settle, "3 × x/time/rate, Reserve and Cancel"), nil
		}
	}
	givingBack := func() (side, error) {
		return xtime(new(lockless), 1, (*composed).giveBack, "3 × x/time/rate, negative AllowN"), nil
	}
	inSyncMap := func() (side, error) {
		return xtime(new(lockless), 10_000, (*composed).settle, "3 × x/time/rate, Reserve and Cancel, in a sync.Map"), nil
	}
	floor := func(times int) func() (side, error) {
		return func() (side, error) { return mutex(times), nil }
	}
	var list []contest
	for _, g := range []int{1, 64} {
		list = append(list, contest{
			name: fmt.Sprintf("memory-hot-%d", g), goroutines: g, keys: 1, goal: 0.7, rounds: 15,
			ours: ours(1, true), other: composed3(1, true), floorSide: floor(2),
			peers: []func() (side, error){givingBack},
			extra: countAllocations,
		})
	}
	for _, g := range []int{1, 64} {
		list = append(list, contest{
			name: fmt.Sprintf("memory-acquire-%d", g), goroutines: g, keys: 1, goal: 1, rounds: 15,
			ours: ours(1, false), other: composed3(1, false), floorSide: floor(1),
			peers: acquirePeers(1),
			extra: countAllocations,
		})
	}
	return append(list,
		contest{
			name: "memory-refused-1", goroutines: 1, keys: 1, goal: 1, rounds: 15,
			ours: refusedOurs, other: refusedOther, floorSide: floor(1),
			extra: countAllocations,
		},
		contest{
			name: "memory-10k-64", goroutines: 64, keys: 10_000, goal: 0.5, rounds: 15, budget: 100 * time.Millisecond,
			ours: ours(10_000, true), other: composed3(10_000, true), floorSide: floor(2),
			peers: []func() (side, error){inSyncMap},
			extra: countAllocations,
		},
		contest{name: "memory-waiters", whole: waitersRow})
}

func countAllocations(r *row, ours side) error {
	allocs, _, err := allocations(ours.run)
	r.Allocs = &allocs
	return err
}

// refusedOurs asks for more than is left, without waiting.
func refusedOurs() (side, error) {
	l := throttle.New(memory.New(), throttle.Static(
		throttle.PerMinute("requests", requestsPerMinute).WithBurst(requestBurst),
		throttle.PerDay("tokens", reservedTokens),
		throttle.PerDay("requests", requestsPerDay).WithBurst(requestBurst)))
	ctx := context.Background()
	if _, err := l.TryAcquire(ctx, "m", reserved); err != nil {
		return side{}, err
	}
	return side{
		name: "throttle",
		run: func(_, n int) error {
			for range n {
				if r, _ := l.TryAcquire(ctx, "m", reserved); r != nil {
					return errGranted
				}
			}
			return nil
		},
		close: func() { l.Close() },
	}, nil
}

var errGranted = errors.New("granted, where everything should be refused")
