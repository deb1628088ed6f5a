package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// use calls everything that waits for the store.
func use(l *throttle.Limiter, model string) error {
	ctx := context.Background()
	_, status := l.Status(ctx, model)
	r, acquire := l.Acquire(ctx, model, throttle.Usage{"tokens": 1})
	if acquire != nil {
		return errors.Join(status, acquire)
	}
	return errors.Join(status,
		l.Pause(ctx, model, 0), l.SetLimit(ctx, model, throttle.PerMinute("tokens", 60)), l.ClearLimit(ctx, model, "tokens", time.Minute),
		l.Record(ctx, model, throttle.Usage{"tokens": 0.5}), r.Cancel(ctx))
}

// A hook may call the limiter, whatever it tells of, and on whichever goroutine: nobody waits for it who has to answer.
func TestHooksMayCallTheLimiter(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var l *throttle.Limiter
		done := make(chan error, 100)
		told := map[string]*atomic.Bool{}
		once := func(hook string) {
			if told[hook].CompareAndSwap(false, true) { // what it calls is told of, too
				done <- use(l, "m")
				done <- use(l, hook)
			}
		}
		hooks := &throttle.Hooks{
			WaitStarted:   func(context.Context, throttle.WaitInfo) { once("WaitStarted") },
			WaitEnded:     func(context.Context, throttle.WaitInfo) { once("WaitEnded") },
			Acquired:      func(context.Context, throttle.AcquiredInfo) { once("Acquired") },
			Refused:       func(context.Context, throttle.RefusedInfo) { once("Refused") },
			Settled:       func(context.Context, throttle.SettledInfo) { once("Settled") },
			StoreAnswered: func(throttle.StoreAnsweredInfo) { once("StoreAnswered") },
		}
		for _, hook := range []string{"WaitStarted", "WaitEnded", "Acquired", "Refused", "Settled", "StoreAnswered"} {
			told[hook] = new(atomic.Bool)
		}
		l = throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)), throttle.WithHooks(hooks))
		for _, ctx := range []context.Context{t.Context(), context.Background()} { // which may go away, and which sends its request itself
			must(t, l.Record(ctx, "m", throttle.Usage{"tokens": 60}))
			if _, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 60}); err == nil {
				t.Error("granted")
			}
			r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 10})
			must(t, err)
			must(t, r.Settle(ctx, throttle.Usage{"tokens": 9}))
		}
		must(t, l.Close())
		close(done)
		for err := range done {
			if err != nil {
				t.Error(err)
			}
		}
		for hook, told := range told {
			if _, local := d.(driver.Local); !told.Load() && !(local && hook == "StoreAnswered") {
				t.Errorf("%s was not called", hook)
			}
		}
	})
}

// So may those that tell of the store's troubles.
func TestHooksOfTroubleMayCallTheLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		store := &remote{trip: time.Millisecond, Driver: memory.New(memory.WithClock(func() bucket.Micros { return bucket.At(time.Now()) + bucket.Micros(offset.Load()) }))}
		var l *throttle.Limiter
		done := make(chan string, 10)
		tell := func(hook string) {
			if err := use(l, hook); err != nil {
				t.Errorf("%s: %v", hook, err)
			}
			done <- hook
		}
		l = throttle.New(store, throttle.Static(throttle.PerMinute("tokens", 60)), throttle.WithHooks(&throttle.Hooks{
			ClockStepped: func(throttle.ClockSteppedInfo) { tell("ClockStepped") },
			StoreError:   func(throttle.StoreErrorInfo) { store.fail.Store(nil); tell("StoreError") },
			StateMissing: func(throttle.StateMissingInfo) { tell("StateMissing") },
		}))
		defer l.Close()
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 30}))
		offset.Store(int64(bucket.Hour))
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 30}))
		broken := errors.New("broken")
		store.fail.Store(&broken)
		if err := l.Record(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		store.Driver = memory.New(memory.WithClock(func() bucket.Micros { return bucket.At(time.Now()) + bucket.Micros(offset.Load()) }))
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 1}))
		for _, want := range []string{"ClockStepped", "StoreError", "StateMissing"} {
			if got := <-done; got != want {
				t.Errorf("told of %s, want %s", got, want)
			}
		}
	})
}

// However slow hooks are, a call's wait has begun before it ends, and Close leaves nothing untold.
func TestSlowHooksKeepTheirOrder(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var begun, ended atomic.Int64
		l := throttle.New(d, throttle.Static(throttle.PerSecond("tokens", 100)), throttle.WithHooks(&throttle.Hooks{
			WaitStarted: func(ctx context.Context, _ throttle.WaitInfo) {
				time.Sleep(300 * time.Millisecond)
				ctx.Value(traceKey{}).(*atomic.Bool).Store(true)
				begun.Add(1)
			},
			WaitEnded: func(ctx context.Context, _ throttle.WaitInfo) {
				if !ctx.Value(traceKey{}).(*atomic.Bool).Load() {
					t.Error("a wait ended that had not begun")
				}
				ended.Add(1)
			},
		}))
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 100}))
		for i := range 20 {
			go func() {
				ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), traceKey{}, new(atomic.Bool)), time.Duration(i)*100*time.Millisecond)
				defer cancel()
				_, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 10}, throttle.Flow(fmt.Sprint(i%3), 1))
			}()
		}
		time.Sleep(time.Minute)
		must(t, l.Close())
		if begun.Load() != ended.Load() || begun.Load() < 10 {
			t.Errorf("%d waits began and %d ended", begun.Load(), ended.Load())
		}
	})
}

// Hooks are called in the order of the answers, one at a time, and the store waits for those that can't keep up.
func TestStoreHooksDontPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var called, at atomic.Int64
		l := throttle.New(&remote{Driver: memory.New(), trip: time.Millisecond}, throttle.Static(throttle.PerMinute("tokens", 1e6)),
			throttle.WithHooks(&throttle.Hooks{StoreAnswered: func(throttle.StoreAnsweredInfo) {
				if at.Add(1) > 1 {
					t.Error("two at a time")
				}
				time.Sleep(5 * time.Millisecond)
				at.Add(-1)
				called.Add(1)
			}}))
		const n = 3000
		for range n {
			_, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1})
			must(t, err)
		}
		if left := n - called.Load(); left > 1100 {
			t.Errorf("%d hooks are due, want about 1000 at most", left)
		}
		must(t, l.Close())
		if got := called.Load(); got < n {
			t.Logf("Close left %d hooks", n-got) // it waits for two store timeouts
		}
		time.Sleep(time.Minute)
		if got := called.Load(); got != n {
			t.Errorf("%d hooks were called of %d", got, n)
		}
	})
}

// A hook that closes its limiter waits for itself, but not for good.
func TestHookMayClose(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var l *throttle.Limiter
		closed := make(chan time.Duration, 1)
		l = throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)), throttle.StoreTimeout(time.Second), throttle.WithHooks(&throttle.Hooks{
			WaitStarted: func(context.Context, throttle.WaitInfo) {
				start := time.Now()
				_ = l.Close()
				closed <- time.Since(start)
			},
		}))
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 60}))
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.Is(err, throttle.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		if took := <-closed; took > 2*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}
