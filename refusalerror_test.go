package throttle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

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

// subscribing is a driver whose first subscription fails.
type subscribing struct {
	*remote
	mu   sync.Mutex
	ctxs []context.Context
}

func (s *subscribing) Notify(ctx context.Context, _ func(key, place string)) (stop func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctxs = append(s.ctxs, ctx)
	if len(s.ctxs) == 1 {
		return nil, errors.New("not now")
	}
	return func() {}, nil
}

// A subscription that failed is tried again, and the context of each ends with it.
func TestSubscriptionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &subscribing{remote: &remote{Driver: memory.New(), trip: time.Millisecond}}
		var _ driver.Notifier = d
		l := throttle.New(d, throttle.Static(throttle.PerSecond("tokens", 1)))
		defer l.Close()
		for range 100 { // one a second, most of them wait
			if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.ctxs) != 2 {
			t.Errorf("subscribed %d times, want twice: the first failed", len(d.ctxs))
		}
		for i, ctx := range d.ctxs {
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("the context of subscription %d: %v, want it canceled, not left until its time is up", i+1, ctx.Err())
			}
		}
	})
}
