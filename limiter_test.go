package throttle_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

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
