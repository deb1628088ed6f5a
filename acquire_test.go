package throttle_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestAcquireWaitsUntilItFits(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		start := time.Now()
		for i := range 4 {
			r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 30})
			if err != nil {
				t.Fatal(err)
			}
			want := max(0, time.Duration(i-1)*30*time.Second)
			if got := time.Since(start); got < want || got > want+200*time.Millisecond {
				t.Errorf("grant %d after %v, want %v", i, got, want)
			}
			if i < 2 && r.Waited() != 0 {
				t.Errorf("grant %d waited %v", i, r.Waited())
			}
		}
	})
}

// Cancelling must leave the levels as they were, whenever it happens: the steps of a call are cut at every moment of
// its life in virtual time.
func TestCancelAtEveryStepReturnsTheLevelExactly(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
		defer l.Close()
		for cut := time.Duration(0); cut < 4*time.Millisecond; cut += 100 * time.Microsecond {
			for _, cost := range []float64{10, 60} { // one fits beside the holder, one has to wait
				hold, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": cost}); err == nil {
							_ = r.Cancel(ctx)
						} else if !errors.Is(err, context.Canceled) {
							t.Errorf("cut after %v: %v", cut, err)
						}
					})
				}
				time.Sleep(cut)
				cancel()
				wg.Wait()
				if err := hold.Cancel(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Millisecond) // what goes back behind the callers' backs
				if got := level(t, l, "m"); got != 100 {
					t.Fatalf("cut after %v, cost %v: level %v, want 100", cut, cost, got)
				}
				if s, _ := l.Status(t.Context(), "m"); len(s.Line) != 0 || s.Waiting != 0 {
					t.Fatalf("cut after %v: still waiting: %+v", cut, s)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Table(map[string]throttle.Model{
			"m":    {Quotas: []throttle.Quota{throttle.PerMinute("tokens", 60), throttle.PerHour("tokens", 600)}},
			"none": {},
			"free": {Unlimited: true},
			"bad":  {Quotas: []throttle.Quota{throttle.PerMinute("tokens", -1)}},
		}))
		defer l.Close()
		ctx := t.Context()
		var large *throttle.TooLargeError
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 61}); !errors.As(err, &large) || large.Burst != 60 || large.Per != time.Minute {
			t.Errorf("too large: %v", err)
		}
		var usage *throttle.UsageError
		for _, bad := range []throttle.Usage{{"tokens": -1}, {"tokens": math.NaN()}, {"tokens": math.Inf(1)}, {"bananas": 1}} {
			if _, err := l.Acquire(ctx, "m", bad); !errors.As(err, &usage) || usage.Model != "m" {
				t.Errorf("%v: %v", bad, err)
			}
		}
		var model *throttle.ModelError
		for name, want := range map[string]error{"other": throttle.ErrUnknownModel, "none": throttle.ErrNoQuotas, "bad": nil} {
			if _, err := l.Acquire(ctx, name, nil); !errors.As(err, &model) || (want != nil && !errors.Is(err, want)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if r, err := l.Acquire(ctx, "free", throttle.Usage{"anything": 1e9}); err != nil || r.Settle(ctx, nil) != nil {
			t.Errorf("unlimited: %v", err)
		}
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		var capacity *throttle.CapacityError
		_, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 30})
		if !errors.As(err, &capacity) || !errors.Is(err, throttle.ErrNoCapacity) || capacity.Resource != "tokens" ||
			capacity.Per != time.Minute || capacity.RetryAfter > 30*time.Second || capacity.RetryAfter < 29*time.Second || capacity.Place != 1 {
			t.Errorf("refused: %+v", err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err = l.Acquire(short, "m", throttle.Usage{"tokens": 30}, throttle.FailFast())
		var deadline *throttle.DeadlineError
		if !errors.As(err, &deadline) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
			t.Errorf("fail fast after %v: %v", time.Since(start), err)
		}
		if _, err = l.Acquire(short, "m", throttle.Usage{"tokens": 30}); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) < 9*time.Second {
			t.Errorf("deadline after %v: %v", time.Since(start), err)
		}
		time.Sleep(10 * time.Millisecond) // a poll under way at the deadline leaves with the next request
		if s, _ := l.Status(ctx, "m"); len(s.Line) != 0 {
			t.Errorf("left in line: %+v", s.Line)
		}
	})
}

func TestDoSettlesWhateverHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("tokens", 100)))
		defer l.Close()
		oops := errors.New("oops")
		err := l.Do(t.Context(), "m", throttle.Usage{"tokens": 60}, func(context.Context) (throttle.Usage, error) {
			return throttle.Usage{"tokens": 10}, oops
		})
		if !errors.Is(err, oops) {
			t.Error(err)
		}
		if got := level(t, l, "m"); got != 90 {
			t.Errorf("level %v, want 90", got)
		}
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic was lost")
				}
			}()
			_ = l.Do(t.Context(), "m", throttle.Usage{"tokens": 10}, func(context.Context) (throttle.Usage, error) { panic("boom") })
		}()
		if got := level(t, l, "m"); math.Abs(got-80) > 0.01 {
			t.Errorf("level %v, want 80: what a panicking call reserved counts as used", got)
		}
	})
}

// An error is its caller's to keep: the next refusal doesn't change it.
func TestRefusalsAreKept(t *testing.T) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("tokens", 1)))
	defer l.Close()
	var errs [3]*throttle.CapacityError
	names := []string{"a", "b", "c"}
	for i, name := range names {
		if _, err := l.TryAcquire(t.Context(), name, throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.TryAcquire(t.Context(), name, throttle.Usage{"tokens": 1}); !errors.As(err, &errs[i]) {
			t.Fatalf("not refused: %v", err)
		}
	}
	for i, err := range errs {
		if err.Family != names[i] {
			t.Errorf("the refusal of %s is of %s now", names[i], err.Family)
		}
	}
}
