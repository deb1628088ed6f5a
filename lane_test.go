package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestWaitersAreGrantedInOrder(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerSecond("requests", 10).WithBurst(1)))
		defer l.Close()
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait() // it stands in line before the next one comes
		}
		wg.Wait()
		for i := range order {
			if order[i] != i {
				t.Fatalf("order %v", order)
			}
		}
	})
}

func TestManyWaitersOnOneKey(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(memory.New(), throttle.Static(throttle.PerSecond("requests", 1000)))
		defer l.Close()
		start := time.Now()
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		ideal := time.Duration(n-1000) * time.Millisecond
		if took := time.Since(start); took < ideal || took > ideal+ideal/50 {
			t.Errorf("%d grants took %v, ideal %v", n, took, ideal)
		}
	})
}

func TestCreditReachesAnotherLimiter(t *testing.T) {
	for name, want := range map[string]time.Duration{"local": 0, "notifying": 5 * time.Millisecond, "remote": 110 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := stores[name]()
				a := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
				b := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
				defer a.Close()
				defer b.Close()
				hold, err := a.Acquire(t.Context(), "m", throttle.Usage{"tokens": 100})
				if err != nil {
					t.Fatal(err)
				}
				granted := make(chan time.Time)
				go func() {
					if _, err := b.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50}); err != nil {
						t.Error(err)
					}
					granted <- time.Now()
				}()
				time.Sleep(time.Second)
				freed := time.Now()
				if err := hold.Settle(t.Context(), throttle.Usage{"tokens": 10}); err != nil {
					t.Fatal(err)
				}
				if took := (<-granted).Sub(freed); took > want {
					t.Errorf("the credit reached the other limiter after %v, want %v at most", took, want)
				}
			})
		})
	}
}

func TestFlowsShareByTokens(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerSecond("tokens", 1000)))
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var used [3]atomic.Int64
		var wg sync.WaitGroup
		for i, flow := range []struct {
			weight float64
			cost   int64
		}{{1, 10}, {1, 130}, {2, 50}} {
			for range 5 {
				wg.Go(func() {
					for {
						if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": float64(flow.cost)},
							throttle.Flow(fmt.Sprint("flow", i), flow.weight)); err != nil {
							return
						}
						used[i].Add(flow.cost)
					}
				})
			}
		}
		wg.Wait()
		total := used[0].Load() + used[1].Load() + used[2].Load()
		for i, share := range []float64{0.25, 0.25, 0.5} {
			if got := float64(used[i].Load()) / float64(total); math.Abs(got-share) > share/10 {
				t.Errorf("flow %d used %.3f of all, want %.2f", i, got, share)
			}
		}
	})
}

func TestPriorityGoesFirst(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerSecond("requests", 10).WithBurst(1)))
		defer l.Close()
		var wg sync.WaitGroup
		var low, high atomic.Int64
		for range 20 {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1}); err == nil {
					low.Add(1)
				}
			})
		}
		time.Sleep(150 * time.Millisecond)
		for range 5 {
			wg.Go(func() {
				if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1}, throttle.Priority(1)); err == nil {
					if high.Add(1) == 5 && low.Load() > 4 {
						t.Errorf("%d calls of low priority went before the last of high priority", low.Load())
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestFullRefusesOrSheds(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)), throttle.MaxWaiters(2))
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 100}); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 3)
		ask := func(p int) {
			go func() {
				_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50}, throttle.Priority(p))
				errs <- err
			}()
			synctest.Wait()
			time.Sleep(2 * time.Millisecond)
		}
		ask(0)
		ask(0)
		ask(0)
		var full *throttle.FullError
		if err := <-errs; !errors.As(err, &full) || full.Shed {
			t.Errorf("newcomer: %v", err)
		}
		ask(1)
		if err := <-errs; !errors.As(err, &full) || !full.Shed {
			t.Errorf("newest of lowest priority: %v", err)
		}
		l.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, throttle.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// A newcomer learns from those ahead of it that it would wait beyond its deadline: the store isn't asked.
func TestFailFastBehindOthers(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		if err := l.Record(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ahead := make(chan error)
		go func() {
			_, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 30})
			ahead <- err
		}()
		time.Sleep(time.Second)
		short, end := context.WithTimeout(t.Context(), 10*time.Second)
		defer end()
		start := time.Now()
		var deadline *throttle.DeadlineError
		_, err := l.Acquire(short, "m", throttle.Usage{"tokens": 1}, throttle.FailFast())
		if !errors.As(err, &deadline) || deadline.RetryAfter < 28*time.Second || deadline.RetryAfter > 30*time.Second {
			t.Errorf("error %v, want a DeadlineError about the 29 s that those ahead still wait", err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v, a round trip", took)
		}
		cancel()
		if err := <-ahead; !errors.Is(err, context.Canceled) {
			t.Errorf("ahead: %v", err)
		}
	})
}
