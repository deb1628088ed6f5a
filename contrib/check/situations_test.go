package check

import (
	"context"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
)

// situation is what a limiter goes through, and the alerts that are to fire at its end: these and no others.
type situation struct {
	name   string
	firing []string
	lasts  time.Duration
	quotas []throttle.Quota
	work   func(context.Context, *throttle.Limiter, *farStore) // until ctx ends
}

var (
	roomy  = []throttle.Quota{throttle.PerMinute("requests", 600), throttle.PerMinute("tokens", 200_000)}
	narrow = []throttle.Quota{throttle.PerMinute("requests", 60)}
)

// A request of each resource, with the tokens it reserves and those it uses.
func call(ctx context.Context, l *throttle.Limiter, reserve, use float64) {
	_ = l.Do(ctx, "gpt-4.1", throttle.Usage{"requests": 1, "tokens": reserve}, func(context.Context) (throttle.Usage, error) {
		time.Sleep(500 * time.Millisecond)
		return throttle.Usage{"requests": 1, "tokens": use}, nil
	})
}

// every does something again and again.
func every(ctx context.Context, d time.Duration, do func()) {
	for ctx.Err() == nil {
		do()
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
}

// crowd are n callers that ask again as soon as they have had their turn, each waiting for at most patience.
func crowd(ctx context.Context, l *throttle.Limiter, n int, patience time.Duration) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				wait, cancel := context.WithTimeout(ctx, patience)
				if r, err := l.Acquire(wait, "gpt-4.1", throttle.Usage{"requests": 1}); err == nil {
					_ = r.Settle(ctx, nil)
				}
				cancel()
			}
		})
	}
	all.Wait()
}

// good is a limiter with which nothing is wrong.
var good = situation{
	name: "good", lasts: 5 * time.Hour, quotas: roomy,
	work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) {
		every(ctx, time.Second, func() { call(ctx, l, 1000, 700) })
	},
}

// bad are limiters with which something is.
var bad = []situation{
	{
		name: "the store is down", firing: []string{"ThrottleStoreFailing", "ThrottleStatusFailing"}, lasts: 30 * time.Minute, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, s *farStore) {
			start := time.Now()
			every(ctx, time.Second, func() {
				s.failing.Store(time.Since(start) > 10*time.Minute)
				call(ctx, l, 1000, 700)
			})
		},
	},
	{
		name: "the store is down, and nobody calls", firing: []string{"ThrottleStatusFailing"}, lasts: 15 * time.Minute, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, s *farStore) {
			s.failing.Store(true)
			<-ctx.Done()
		},
	},
	{
		name: "the store is slow", firing: []string{"ThrottleStoreSlow"}, lasts: 30 * time.Minute, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, s *farStore) {
			s.delay.Store(int64(400 * time.Millisecond))
			every(ctx, time.Second, func() { call(ctx, l, 1000, 700) })
		},
	},
	{
		name: "the store forgets", firing: []string{"ThrottleStateMissing"}, lasts: 25 * time.Minute, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, s *farStore) {
			start, flushed := time.Now(), false
			every(ctx, time.Second, func() {
				if !flushed && time.Since(start) > 15*time.Minute {
					s.flush()
					flushed = true
				}
				call(ctx, l, 100_000, 90_000)
			})
		},
	},
	{
		name: "more demand than quota", firing: []string{"ThrottleWaitsLong"}, lasts: 40 * time.Minute, quotas: narrow,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) { crowd(ctx, l, 150, time.Hour) },
	},
	{
		name: "much more demand than quota", firing: []string{"ThrottleWaitsLong", "ThrottleLineGrows"}, lasts: 40 * time.Minute, quotas: narrow,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) { crowd(ctx, l, 500, time.Hour) },
	},
	{
		name: "one call that is served in an hour", firing: []string{"ThrottleLineGrows", "ThrottleDebt"}, lasts: 20 * time.Minute, quotas: narrow,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) {
			_ = l.Record(ctx, "gpt-4.1", throttle.Usage{"requests": 3600})
			_, _ = l.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 1})
		},
	},
	{
		name: "deadlines shorter than the line", firing: []string{"ThrottleCallsAbandoned"}, lasts: 30 * time.Minute, quotas: narrow,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) { crowd(ctx, l, 50, 5*time.Second) },
	},
	{
		name: "calls use more than they reserve", firing: []string{"ThrottleDebt"}, lasts: 25 * time.Minute, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) {
			every(ctx, 150*time.Second, func() { call(ctx, l, 10, 700_000) })
		},
	},
	{
		name: "reservations are never settled", firing: []string{"ThrottleReservationsLeak"}, lasts: 2 * time.Hour, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) {
			every(ctx, 10*time.Second, func() { _, _ = l.Acquire(ctx, "gpt-4.1", throttle.Usage{"requests": 1, "tokens": 100}) })
		},
	},
	{
		name: "much more is reserved than used", firing: []string{"ThrottleEstimatesHigh"}, lasts: 4 * time.Hour, quotas: roomy,
		work: func(ctx context.Context, l *throttle.Limiter, _ *farStore) {
			every(ctx, time.Second, func() { call(ctx, l, 1000, 50) })
		},
	},
}

// eventful is a limiter to which everything happens that a dashboard can show.
var eventful = situation{
	name: "eventful", lasts: time.Hour, quotas: roomy,
	work: func(ctx context.Context, l *throttle.Limiter, s *farStore) {
		var all sync.WaitGroup
		all.Go(func() { every(ctx, time.Second, func() { call(ctx, l, 1000, 700) }) })
		all.Go(func() { every(ctx, time.Second, func() { call(ctx, l, 10, 20_000) }) }) // in debt now and then
		all.Go(func() { crowd(ctx, l, 20, 200*time.Millisecond) })
		all.Go(func() {
			every(ctx, time.Second, func() { _, _ = l.TryAcquire(ctx, "gpt-4.1", throttle.Usage{"tokens": 200_000}) })
		})
		all.Go(func() {
			every(ctx, time.Minute, func() {
				_ = l.SetLimit(ctx, "gpt-4.1", throttle.PerMinute("tokens", 190_000))
				_ = l.Pause(ctx, "gpt-4.1", 5*time.Second)
			})
		})
		all.Wait()
	},
}
