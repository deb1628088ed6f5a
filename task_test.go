package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// hanging is a store that answers nothing, once hang is closed, until its time is up.
type hanging struct {
	driver.Driver
	hang chan struct{}
}

func (h *hanging) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	select {
	case <-h.hang:
		<-ctx.Done()
		return nil, ctx.Err()
	default:
		return h.Driver.Apply(ctx, batch)
	}
}

// asks are the calls that ask the store once, with what it may be that they have changed when their time is up.
var asks = map[string]struct {
	call    func(ctx context.Context, l *throttle.Limiter) error
	changes bool
}{
	"TryAcquire": {func(ctx context.Context, l *throttle.Limiter) error {
		_, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 10})
		return err
	}, false}, // what it is granted goes back
	"Status":       {func(ctx context.Context, l *throttle.Limiter) error { _, err := l.Status(ctx, "m"); return err }, false},
	"FamilyStatus": {func(ctx context.Context, l *throttle.Limiter) error { _, err := l.FamilyStatus(ctx, "m"); return err }, false},
	"SetLimit": {func(ctx context.Context, l *throttle.Limiter) error {
		return l.SetLimit(ctx, "m", throttle.PerDay("tokens", 200))
	}, true},
	"ClearLimit": {func(ctx context.Context, l *throttle.Limiter) error {
		return l.ClearLimit(ctx, "m", "tokens", 24*time.Hour)
	}, true},
	"Pause": {func(ctx context.Context, l *throttle.Limiter) error { return l.Pause(ctx, "m", time.Minute) }, true},
	"Observe": {func(ctx context.Context, l *throttle.Limiter) error {
		return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: 5})
	}, true},
}

// A call whose context ends goes, however long the store takes, and says whether it may have changed something.
func TestAsksEndWithTheirContext(t *testing.T) {
	for name, ask := range asks {
		for _, sent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/sent %t", name, sent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := slow()
					l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 100)))
					defer l.Close()
					must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 40}))
					if !sent { // it waits for another's
						go func() { _ = l.Record(context.Background(), "m", throttle.Usage{"tokens": 0}) }()
						time.Sleep(time.Millisecond)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					defer cancel()
					start := time.Now()
					err := ask.call(ctx, l)
					if took := time.Since(start); took != 50*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("it took %v: %v; want 50ms and the deadline's error", took, err)
					}
					var failed *throttle.StoreError
					unknown := errors.Is(err, driver.ErrUnknownOutcome) && errors.As(err, &failed)
					if want := sent && ask.changes; unknown != want {
						t.Errorf("error %v: it says that it may have changed something: %t, want %t", err, unknown, want)
					}
					time.Sleep(10 * time.Second)
					s, err := l.Status(t.Context(), "m")
					must(t, err)
					b := s.Buckets[0]
					changed := b.Level < 59 || b.Level > 61 || b.Limit != 100 || !s.Paused.IsZero()
					if changed && !(sent && ask.changes) {
						t.Errorf("it has changed the state: %+v", s)
					}
				})
			})
		}
	}
}

// Without an end of their own, calls end with the store timeout: that of the request under way, and that of their own.
func TestAsksTakeTwoStoreTimeouts(t *testing.T) {
	for _, n := range []int{1, 3000} { // more than go with one request
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &hanging{memory.New(), make(chan struct{})}
				l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 1e6)), throttle.StoreTimeout(time.Second))
				r := make([]*throttle.Reservation, n)
				for i := range r {
					var err error
					r[i], err = l.Acquire(context.Background(), "m", throttle.Usage{"tokens": 2})
					must(t, err)
				}
				close(store.hang)
				go func() { _, _ = l.Status(context.Background(), "m") }()
				time.Sleep(time.Millisecond)
				start := time.Now()
				var wg sync.WaitGroup
				for _, r := range r {
					wg.Go(func() {
						var failed *throttle.StoreError
						if err := r.Settle(context.Background(), throttle.Usage{"tokens": 1}); !errors.As(err, &failed) {
							t.Errorf("error %v, want a StoreError", err)
						}
						if took := time.Since(start); took > 2*time.Second {
							t.Errorf("it took %v, want 2 s at most", took)
						}
					})
				}
				wg.Wait()
				start = time.Now()
				must(t, l.Close())
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("Close took %v, want 2 s at most", took)
				}
			})
		})
	}
}

// Close doesn't wait for those who go on settling.
func TestCloseWhileOthersSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &remote{Driver: memory.New()}
		l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 1e6)), throttle.StoreTimeout(time.Second))
		r := make([]*throttle.Reservation, 400)
		for i := range r {
			var err error
			r[i], err = l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 2})
			must(t, err)
		}
		store.trip = 100 * time.Millisecond
		waits := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1e6})
			waits <- err
		}()
		var wg sync.WaitGroup
		for g := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(g) * 5 * time.Millisecond)
				for i := g; i < len(r); i += 20 {
					if err := r[i].Settle(context.Background(), throttle.Usage{"tokens": 1}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		must(t, l.Close())
		if took := time.Since(start); took > 400*time.Millisecond {
			t.Errorf("Close took %v, want the time of a few round trips of 100 ms", took)
		}
		if err := <-waits; !errors.Is(err, throttle.ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
		other := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 1e6)))
		defer other.Close()
		s, err := other.Status(t.Context(), "m")
		must(t, err)
		if len(s.Line) > 0 {
			t.Errorf("%d places are left in the line", len(s.Line))
		}
		wg.Wait()
	})
}
