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

// An unlimited model is served without the store, and what is acquired for it ends like any reservation.
func TestUnlimitedNeedsNoStore(t *testing.T) {
	broken := errors.New("broken")
	d := &remote{Driver: still()}
	d.fail.Store(&broken)
	l := throttle.New(d, throttle.Scale(throttle.Unlimited(), "batch", 0.5))
	defer l.Close()
	for name, acquire := range map[string]func() (*throttle.Reservation, error){
		"Acquire": func() (*throttle.Reservation, error) {
			return l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1e9})
		},
		"TryAcquire": func() (*throttle.Reservation, error) {
			return l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1e9})
		},
		"AcquireFor": func() (*throttle.Reservation, error) { return l.AcquireFor(t.Context(), "m", "request", nil) },
	} {
		r, err := acquire()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Model() != "m" || r.Family() != "" || r.Reserved() != nil {
			t.Errorf("%s: model %q, family %q, reserved %v", name, r.Model(), r.Family(), r.Reserved())
		}
		if err := r.Cancel(t.Context()); err != nil {
			t.Errorf("%s: Cancel: %v", name, err)
		}
		if err := r.Cancel(t.Context()); !errors.Is(err, throttle.ErrSettled) {
			t.Errorf("%s: second Cancel: %v", name, err)
		}
	}
}
