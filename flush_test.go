package throttle_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
)

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
