package throttle_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// What a call gives back to a store that tells nobody of it serves the process's own waiters in the same request, however
// seldom they poll.
func TestCreditServesOwnWaitersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const trip = 10 * time.Millisecond
		l := throttle.New(&remote{Driver: memory.New(), trip: trip}, throttle.Static(throttle.Quota{Resource: "tokens", Limit: 60, Per: 24 * time.Hour}), throttle.PollInterval(time.Hour))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
			done <- err
		}()
		time.Sleep(time.Second) // it waits
		start := time.Now()
		if err := r.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > trip {
			t.Errorf("the waiter was served %v after the credit, want one round trip of %v", took, trip)
		}
	})
}

// A crowd that can all be served is served in few requests: each time that all of a request's are, the next carries twice
// as many.
func TestCrowdIsServedInFewRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &remote{Driver: memory.New(), trip: time.Millisecond}
		l := throttle.New(store, throttle.Static(throttle.Quota{Resource: "tokens", Limit: 1000, Per: 24 * time.Hour}), throttle.PollInterval(time.Hour))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1000})
		if err != nil {
			t.Fatal(err)
		}
		const crowd = 200
		done := make(chan error, crowd)
		for range crowd {
			go func() {
				_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1})
				done <- err
			}()
		}
		time.Sleep(time.Second)
		before := store.applies.Load()
		if err := r.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range crowd {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		if n := store.applies.Load() - before; n > 12 {
			t.Errorf("%d calls were served in %d requests, want 12 at most", crowd, n)
		}
	})
}

// A call that Close ends while the store is at work on it must not keep what it is granted then.
func TestCloseGivesBackWhatIsGrantedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		quotas := throttle.Static(throttle.Quota{Resource: "tokens", Limit: 60, Per: 24 * time.Hour})
		l := throttle.New(&remote{Driver: store, trip: time.Second}, quotas)
		done := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 30})
			done <- err
		}()
		time.Sleep(time.Millisecond) // the request is on its way
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, throttle.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		time.Sleep(10 * time.Second)
		other := throttle.New(store, quotas)
		defer other.Close()
		if got := level(t, other, "m"); got != 60 {
			t.Errorf("the level is %v of 60: the grant was kept", got)
		}
	})
}

// A call whose context ends goes at once, however slow the store is in taking its place out of the line.
func TestCancelledWaiterDoesNotWaitForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(&remote{Driver: memory.New(), trip: 2 * time.Second}, throttle.Static(throttle.Quota{Resource: "tokens", Limit: 60, Per: 24 * time.Hour}), throttle.PollInterval(time.Hour))
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 60}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline's", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it went after %v, want a minute", took)
		}
	})
}

// The place that is ready is the one that asks, not the first of the process.
func TestReadyPlaceAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(&notifying{remote{Driver: memory.New(), trip: time.Millisecond}}, throttle.Static(
			throttle.Quota{Resource: "tokens", Limit: 60, Per: 24 * time.Hour}, throttle.Quota{Resource: "requests", Limit: 10, Per: 24 * time.Hour}), throttle.PollInterval(time.Hour))
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		held, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 10})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		gone, served := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 60}, throttle.Flow("first", 1))
			gone <- err
		}()
		time.Sleep(time.Second)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 10}, throttle.Flow("second", 1))
			served <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		if err := held.Cancel(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 10*time.Millisecond {
			t.Errorf("the second was served %v after the credit", took)
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
	})
}

// A call that waits when the limit falls below its usage is refused, and the hook is told so.
func TestWaiterRefusedIsTold(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var told []error
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)),
			throttle.WithHooks(&throttle.Hooks{Refused: func(_ context.Context, i throttle.RefusedInfo) { told = append(told, i.Err) }}))
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
			done <- err
		}()
		time.Sleep(time.Second)
		if err := l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 10)); err != nil {
			t.Fatal(err)
		}
		err := <-done
		if want := new(throttle.TooLargeError); !errors.As(err, &want) {
			t.Errorf("error %v, want a TooLargeError", err)
		}
		if len(told) != 1 || told[0] != err {
			t.Errorf("the hook was told of %v, want %v", told, err)
		}
	})
}

// The most units that an amount may have are an amount, though no bucket holds them; more are none.
func TestMostUnits(t *testing.T) {
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 60)))
	defer l.Close()
	_, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": bucket.MaxUnits})
	if want := new(throttle.TooLargeError); !errors.As(err, &want) {
		t.Errorf("error %v, want a TooLargeError", err)
	}
	_, err = l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": math.Nextafter(bucket.MaxUnits, math.Inf(1))})
	if want := new(throttle.UsageError); !errors.As(err, &want) {
		t.Errorf("error %v, want a UsageError", err)
	}
}
