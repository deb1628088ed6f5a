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

// remote hides that a driver lives in the process, and takes a round trip's time, so that the limiter batches for it.
type remote struct {
	driver.Driver
	trip    time.Duration
	applies atomic.Int64
	ops     atomic.Int64
	fail    atomic.Pointer[error]
}

func (r *remote) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	r.applies.Add(1)
	for i := range batch {
		r.ops.Add(int64(len(batch[i].Ops)))
	}
	if err := r.fail.Load(); err != nil {
		return nil, *err
	}
	time.Sleep(r.trip / 2)
	responses, err := r.Driver.Apply(ctx, batch)
	time.Sleep(r.trip / 2)
	return responses, err
}

// notifying also passes on what the driver tells of places that are ready.
type notifying struct{ remote }

func (n *notifying) Notify(ctx context.Context, ready func(key, place string)) (func(), error) {
	return n.Driver.(driver.Notifier).Notify(ctx, ready)
}

// stores are the ways in which a limiter can reach its state.
var stores = map[string]func() driver.Driver{
	"local":     func() driver.Driver { return memory.New() },
	"remote":    func() driver.Driver { return &remote{Driver: memory.New(), trip: time.Millisecond} },
	"notifying": func() driver.Driver { return &notifying{remote{Driver: memory.New(), trip: time.Millisecond}} },
}

// onStores runs a test in virtual time on each kind of store.
func onStores(t *testing.T, test func(t *testing.T, d driver.Driver)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, open()) })
		})
	}
}

func level(t *testing.T, l *throttle.Limiter, model string) float64 {
	t.Helper()
	s, err := l.Status(context.Background(), model)
	if err != nil {
		t.Fatal(err)
	}
	return s.Buckets[0].Level
}

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

func TestSettleGivesBackAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60), throttle.PerMinute("requests", 10)))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60, "requests": 1})
		if err != nil {
			t.Fatal(err)
		}
		start, done := time.Now(), make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50})
			done <- err
		}()
		synctest.Wait()
		if err := r.Settle(t.Context(), throttle.Usage{"tokens": 10}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 200*time.Millisecond {
			t.Errorf("the credit reached the waiter after %v", took)
		}
		if err := r.Settle(t.Context(), nil); !errors.Is(err, throttle.ErrSettled) {
			t.Errorf("second Settle: %v", err)
		}
		if err := r.Cancel(t.Context()); !errors.Is(err, throttle.ErrSettled) {
			t.Errorf("Cancel after Settle: %v", err)
		}
	})
}

func TestDebtIsPaidBeforeTheNextGrant(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		r, _ := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
		if err := r.Settle(t.Context(), throttle.Usage{"tokens": 90}); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); math.Abs(got+30) > 0.1 {
			t.Errorf("level %v, want -30", got)
		}
		start := time.Now()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 30*time.Second || took > 32*time.Second {
			t.Errorf("granted after %v, want 31 s", took)
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

func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &remote{Driver: memory.New(), trip: time.Millisecond}
		l := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 1e6)))
		defer l.Close()
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range 10 {
					r, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1})
					if err != nil {
						t.Error(err)
						return
					}
					if err := r.Settle(t.Context(), nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := d.applies.Load(); n > 40 {
			t.Errorf("640 acquires took %d round trips", n)
		}
	})
}

func TestLoneCallerPaysOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &remote{Driver: memory.New(), trip: time.Millisecond}
		l := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 1e6)))
		defer l.Close()
		start := time.Now()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 2})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != time.Millisecond || d.applies.Load() != 1 || d.ops.Load() != 1 {
			t.Errorf("acquire took %v, %d round trips, %d operations", took, d.applies.Load(), d.ops.Load())
		}
		if err := r.Settle(t.Context(), throttle.Usage{"requests": 1}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 2*time.Millisecond || d.applies.Load() != 2 || d.ops.Load() != 2 {
			t.Errorf("with settle %v, %d round trips, %d operations", took, d.applies.Load(), d.ops.Load())
		}
	})
}

func TestCloseEndsWaits(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerDay("requests", 1)))
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1})
		if err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1})
				errs <- err
			}()
		}
		synctest.Wait()
		time.Sleep(5 * time.Millisecond)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := <-errs; !errors.Is(err, throttle.ErrClosed) {
				t.Errorf("waiter got %v", err)
			}
		}
		if _, err := l.Acquire(t.Context(), "m", nil); !errors.Is(err, throttle.ErrClosed) {
			t.Errorf("Acquire after Close: %v", err)
		}
		if err := r.Settle(t.Context(), throttle.Usage{"requests": 0}); err != nil {
			t.Errorf("Settle after Close: %v", err)
		}
		other := throttle.New(d, throttle.Static(throttle.PerDay("requests", 1)))
		defer other.Close()
		if _, err := other.TryAcquire(t.Context(), "m", throttle.Usage{"requests": 1}); err != nil {
			t.Errorf("what the closed limiter left is not there: %v", err)
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

func TestPauseSetLimitObserve(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		ctx := t.Context()
		if err := l.Pause(ctx, "m", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("a pause of 10 s took %v", took)
		}
		if err := l.SetLimit(ctx, "m", throttle.PerMinute("tokens", 6000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := level(t, l, "m"); got < 5999 {
			t.Errorf("level %v under the raised limit", got)
		}
		if err := l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: 100}); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); got < 100 || got > 102 {
			t.Errorf("level %v after 100 were observed", got)
		}
		if err := l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: math.NaN(), Limit: 120}); err != nil {
			t.Fatal(err)
		}
		s, _ := l.Status(ctx, "m")
		if b := s.Buckets[0]; b.Limit != 120 || !b.Overridden {
			t.Errorf("observed limit not followed: %+v", b)
		}
		if err := l.ClearLimit(ctx, "m", "tokens", time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); got > 60 {
			t.Errorf("level %v above the quota's own burst", got)
		}
		var argument *throttle.ArgumentError
		if err := l.SetLimit(ctx, "m", throttle.PerHour("tokens", 1)); !errors.As(err, &argument) {
			t.Errorf("no such quota: %v", err)
		}
	})
}

func TestStoreErrorsReachTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &remote{Driver: memory.New(), trip: time.Millisecond}
		var told atomic.Int64
		l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)),
			throttle.WithHooks(&throttle.Hooks{StoreError: func(throttle.StoreErrorInfo) { told.Add(1); panic("a bad hook") }}))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 100})
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		d.fail.Store(&broken)
		var store *throttle.StoreError
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.As(err, &store) || !errors.Is(err, broken) {
			t.Errorf("acquire: %v", err)
		}
		if err := r.Settle(t.Context(), throttle.Usage{"tokens": 0}); !errors.Is(err, broken) {
			t.Errorf("settle: %v", err)
		}
		d.fail.Store(nil)
		if told.Load() == 0 {
			t.Error("no hook was told")
		}
		if err := r.Settle(t.Context(), throttle.Usage{"tokens": 0}); err != nil {
			t.Errorf("settle, once the store is back: %v", err)
		}
		if got := level(t, l, "m"); got != 100 {
			t.Errorf("level %v", got)
		}
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

func TestQuotasMayChangeWhileCallsWait(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var quotas atomic.Pointer[[]throttle.Quota]
		quotas.Store(&[]throttle.Quota{throttle.PerMinute("tokens", 60)})
		l := throttle.New(d, func(context.Context, string) (throttle.Model, error) {
			return throttle.Model{Family: "f", Quotas: *quotas.Load()}, nil
		})
		defer l.Close()
		hold, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 30})
			done <- err
		}()
		time.Sleep(5 * time.Millisecond)
		quotas.Store(&[]throttle.Quota{throttle.PerMinute("requests", 10), throttle.PerMinute("tokens", 600)})
		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"requests": 1}); err != nil {
			t.Fatal(err)
		}
		if err := hold.Settle(t.Context(), throttle.Usage{"tokens": 20}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
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

func BenchmarkAcquireSettle(b *testing.B) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 1e12), throttle.PerMinute("tokens", 1e14), throttle.PerDay("requests", 1e14)))
	ctx, reserve, actual := context.Background(), throttle.Usage{"requests": 1, "tokens": 1000}, throttle.Usage{"requests": 1, "tokens": 100}
	b.ReportAllocs()
	for b.Loop() {
		r, err := l.Acquire(ctx, "m", reserve)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Settle(ctx, actual); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTryAcquireRefused(b *testing.B) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("requests", 1)))
	ctx, one := context.Background(), throttle.Usage{"requests": 1}
	if _, err := l.TryAcquire(ctx, "m", one); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.TryAcquire(ctx, "m", one); err == nil {
			b.Fatal("granted")
		}
	}
}
