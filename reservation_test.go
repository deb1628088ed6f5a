package throttle_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

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
