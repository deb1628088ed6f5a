package throttle_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
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
