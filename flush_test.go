package throttle_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
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
		synctest.Wait() // the hooks may be called after those whom they tell of have the error
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

// An error of the store reaches whoever made the call that met it, whichever call it was.
func TestStoreErrorsOfEveryCall(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		end  func(d driver.Driver)
		want error
	}{
		"local":  {func(d driver.Driver) { _ = d.Close() }, driver.ErrClosed},
		"remote": {func(d driver.Driver) { d.(*remote).fail.Store(&broken) }, broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, d := t.Context(), stores[name]()
				l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
				defer l.Close()
				r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 60})
				if err != nil {
					t.Fatal(err)
				}
				waits := make(chan error, 1)
				go func() {
					_, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 30})
					waits <- err
				}()
				time.Sleep(time.Second)
				c.end(d)
				for call, do := range map[string]func() error{
					"Acquire":      func() error { return <-waits },
					"TryAcquire":   func() error { _, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 1}); return err },
					"Settle":       func() error { return r.Settle(ctx, throttle.Usage{"tokens": 1}) },
					"Record":       func() error { return l.Record(ctx, "m", throttle.Usage{"tokens": 1}) },
					"Observe":      func() error { return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: 1}) },
					"Status":       func() error { _, err := l.Status(ctx, "m"); return err },
					"FamilyStatus": func() error { _, err := l.FamilyStatus(ctx, "m"); return err },
				} {
					var store *throttle.StoreError
					if err := do(); !errors.As(err, &store) || !errors.Is(err, c.want) || store.Family != "m" {
						t.Errorf("%s: error %v, want a StoreError of %v", call, err, c.want)
					}
				}
			})
		})
	}
}

// short leaves out a part of its answers.
type short struct {
	driver.Driver
	cut func([]driver.Response) []driver.Response
}

func (s *short) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	responses, err := s.Driver.Apply(ctx, batch)
	return s.cut(responses), err
}

// A third party's driver may not answer everything: then nobody knows what it did.
func TestShortAnswersAreErrors(t *testing.T) {
	for name, cut := range map[string]func([]driver.Response) []driver.Response{
		"requests":   func(r []driver.Response) []driver.Response { return r[:0] },
		"operations": func(r []driver.Response) []driver.Response { r[0].Results = nil; return r },
	} {
		t.Run(name, func(t *testing.T) {
			l := throttle.New(&short{still(), cut}, throttle.Static(throttle.PerDay("tokens", 100)))
			defer l.Close()
			var store *throttle.StoreError
			if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.As(err, &store) || !errors.Is(err, driver.ErrUnknownOutcome) {
				t.Errorf("error %v, want a StoreError that matches ErrUnknownOutcome", err)
			}
		})
	}
}

// deaf is a store that won't tell anybody of places that are ready.
type deaf struct {
	remote
	why error
}

func (d *deaf) Notify(context.Context, func(key, place string)) (func(), error) { return nil, d.why }

// Who waits is served, if later, where nobody can be told; the hook is told why, and of what the store does answer.
func TestWaitsGoOnWithoutNotifications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{remote: remote{Driver: memory.New(), trip: time.Millisecond}, why: errors.New("deaf")}
		var told, answered atomic.Int64
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)), throttle.WithHooks(throttle.JoinHooks(
			&throttle.Hooks{StoreAnswered: func(i throttle.StoreAnsweredInfo) { answered.Add(int64(i.Operations)) }},
			&throttle.Hooks{StoreError: func(throttle.StoreErrorInfo) { panic("a bad hook") }},
			&throttle.Hooks{StoreError: func(i throttle.StoreErrorInfo) {
				if errors.Is(i.Err, d.why) {
					told.Add(1)
				}
			}})))
		defer l.Close()
		for range 2 {
			if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if told.Load() == 0 {
			t.Error("no hook was told that nobody listens")
		}
		if got, want := answered.Load(), d.ops.Load(); got != want || got == 0 {
			t.Errorf("hooks were told of %d operations that the store answered, of %d", got, want)
		}
	})
}
