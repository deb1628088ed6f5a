package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// slow is a store whose answer takes a second: time for things to happen while a request is under way.
func slow() *remote { return &remote{Driver: memory.New(), trip: time.Second} }

// Who is in a request under way can't be shed any more, so a call of higher priority is turned away.
func TestNobodyIsShedWhileUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(slow(), throttle.Static(throttle.PerDay("tokens", 100)), throttle.MaxWaiters(1))
		defer l.Close()
		first := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60})
			first <- err
		}()
		time.Sleep(time.Millisecond)
		var full *throttle.FullError
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}, throttle.Priority(1)); !errors.As(err, &full) || full.Shed {
			t.Errorf("error %v, want a FullError of a newcomer", err)
		}
		if err := <-first; err != nil {
			t.Errorf("the call under way: %v", err)
		}
	})
}

// A call that has given up leaves nothing behind, whatever comes of the request that it was in.
func TestGivenUpWhileUnderWay(t *testing.T) {
	broken := errors.New("broken on the way")
	for name, c := range map[string]struct {
		tokens float64
		fail   *error
	}{
		"granted":   {100, nil},
		"too large": {200, nil},
		"failed":    {100, &broken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := slow()
				l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 100)), throttle.MaxWaiters(1))
				defer l.Close()
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				start := time.Now()
				if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": c.tokens}); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, want the deadline's", err)
				}
				if took := time.Since(start); took != 100*time.Millisecond {
					t.Errorf("it gave up after %v, want 100ms", took)
				}
				store.fail.Store(c.fail)
				time.Sleep(time.Second) // the answer comes
				store.fail.Store(nil)
				time.Sleep(time.Minute) // and what it calls for is done
				s, err := l.FamilyStatus(t.Context(), "m")
				if err != nil {
					t.Fatal(err)
				}
				if len(s.Line) > 0 || s.Buckets[0].Level != 100 {
					t.Errorf("%d places in the line, level %v: want none, and 100", len(s.Line), s.Buckets[0].Level)
				}
				// The one whom MaxWaiters lets in isn't counted any more.
				if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 100}); err != nil {
					t.Errorf("the next call: %v", err)
				}
			})
		})
	}
}

// The hook hears of the wait of those who wait, not of one who gave up before anybody knew that he would have to.
func TestGivenUpBeforeTheWaitIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started, ended []throttle.WaitInfo
		l := throttle.New(slow(), throttle.Static(throttle.PerDay("tokens", 100)), throttle.WithHooks(&throttle.Hooks{
			WaitStarted: func(_ context.Context, i throttle.WaitInfo) { started = append(started, i) },
			WaitEnded:   func(_ context.Context, i throttle.WaitInfo) { ended = append(ended, i) },
		}))
		defer l.Close()
		recorded := make(chan error, 1)
		go func() { recorded <- l.Record(t.Context(), "m", throttle.Usage{"tokens": 100}) }()
		time.Sleep(time.Millisecond)
		// Both go with the next request.
		waits, stop := context.WithCancel(t.Context())
		givesUp, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		outcomes := make(chan error, 2)
		for _, ctx := range []context.Context{waits, givesUp} {
			go func() {
				_, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 1})
				outcomes <- err
			}()
			synctest.Wait()
		}
		if err := <-recorded; err != nil {
			t.Fatal(err)
		}
		if err := <-outcomes; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the deadline's", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(started) != 1 || len(ended) != 0 {
			t.Errorf("the hooks were told of %d waits that began and %d that ended, want 1 and 0", len(started), len(ended))
		}
		stop()
		if err := <-outcomes; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the cancelled context's", err)
		}
		if len(started) != 1 || len(ended) != 1 {
			t.Errorf("the hooks were told of %d waits that began and %d that ended, want 1 and 1", len(started), len(ended))
		}
	})
}

// changing gives a model other quotas once swapped is set.
func changing(swapped *atomic.Bool, before, after []throttle.Quota) throttle.Models {
	return func(context.Context, string) (throttle.Model, error) {
		if swapped.Load() {
			return throttle.Model{Quotas: after}, nil
		}
		return throttle.Model{Quotas: before}, nil
	}
}

// What was asked for under a model's old quotas, and goes to the store under its new ones, counts for the same resources,
// wherever they stand in the list now.
func TestQuotasChangeBeforeARequestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var swapped atomic.Bool
		l := throttle.New(slow(), changing(&swapped,
			[]throttle.Quota{throttle.PerDay("tokens", 100)},
			[]throttle.Quota{throttle.PerDay("requests", 10), throttle.PerDay("tokens", 100)}))
		defer l.Close()
		outcomes := make(chan error, 4)
		run := func(do func() error) {
			go func() { outcomes <- do() }()
			time.Sleep(time.Millisecond)
		}
		run(func() error { return l.Record(t.Context(), "m", throttle.Usage{"tokens": 10}) }) // under way
		run(func() error { return l.Record(t.Context(), "m", throttle.Usage{"tokens": 20}) }) // waits for it
		run(func() error { return l.SetLimit(t.Context(), "m", throttle.PerDay("tokens", 200)) })
		swapped.Store(true)
		run(func() error { return l.Record(t.Context(), "m", throttle.Usage{"requests": 3}) }) // brings the new ones
		for range 4 {
			if err := <-outcomes; err != nil {
				t.Error(err)
			}
		}
		s, err := l.Status(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]struct{ level, limit float64 }{"requests": {7, 10}, "tokens": {70, 200}}
		for _, b := range s.Buckets {
			if w := want[b.Resource]; b.Level < w.level || b.Level > w.level+0.1 || b.Limit != w.limit {
				t.Errorf("%s: level %v of a limit of %v, want %v of %v", b.Resource, b.Level, b.Limit, w.level, w.limit)
			}
		}
	})
}

// A limit that is set while its quota goes is refused as it would have been a moment later: the caller's matter, and no
// failure of the store.
func TestQuotaGoesBeforeItsLimitIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var swapped atomic.Bool
		l := throttle.New(slow(), changing(&swapped,
			[]throttle.Quota{throttle.PerDay("requests", 10), throttle.PerDay("tokens", 100)},
			[]throttle.Quota{throttle.PerDay("tokens", 100)}))
		defer l.Close()
		outcomes := make(chan error, 3)
		go func() { outcomes <- l.Record(t.Context(), "m", throttle.Usage{"tokens": 10}) }()
		time.Sleep(time.Millisecond)
		go func() { // of no interest, as it would be a moment later
			outcomes <- l.Observe(t.Context(), "m", throttle.Observation{Resource: "requests", Remaining: 1})
		}()
		refused := make(chan error, 2)
		go func() { refused <- l.SetLimit(t.Context(), "m", throttle.PerDay("requests", 20)) }()
		go func() { refused <- l.ClearLimit(t.Context(), "m", "requests", 24*time.Hour) }()
		time.Sleep(time.Millisecond)
		swapped.Store(true)
		go func() { outcomes <- l.Record(t.Context(), "m", throttle.Usage{"tokens": 20}) }()
		for range 3 {
			if err := <-outcomes; err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			var argument *throttle.ArgumentError
			var store *throttle.StoreError
			if err := <-refused; !errors.As(err, &argument) || errors.As(err, &store) {
				t.Errorf("error %v, want an ArgumentError, which is no StoreError", err)
			}
		}
		if got := level(t, l, "m"); got < 70 || got > 70.1 {
			t.Errorf("the level is %v, want 70", got)
		}
	})
}

// ending is a store that ends a context when it has an answer, before anybody sees it.
type ending struct {
	*remote
	end atomic.Pointer[context.CancelFunc]
}

func (d *ending) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	responses, err := d.remote.Apply(ctx, batch)
	(*d.end.Load())()
	return responses, err
}

// Whether its answer or its end is seen first, a call whose context ends as the answer comes leaves nothing behind.
func TestContextEndsWithTheAnswer(t *testing.T) {
	// On one processor, who waits is woken by the end and looks at the family only after the answer has been dealt with.
	for _, processors := range []int{1, runtime.GOMAXPROCS(0)} {
		t.Run(fmt.Sprint(processors), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				store := &ending{remote: slow()}
				nothing := context.CancelFunc(func() {})
				store.end.Store(&nothing)
				l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 100)))
				defer l.Close()
				if err := l.Record(t.Context(), "m", throttle.Usage{"tokens": 50}); err != nil {
					t.Fatal(err)
				}
				for range 50 {
					ctx, cancel := context.WithCancel(t.Context())
					store.end.Store(&cancel)
					r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 20})
					switch {
					case err == nil:
						if err := r.Cancel(t.Context()); err != nil {
							t.Fatal(err)
						}
					case !errors.Is(err, context.Canceled):
						t.Errorf("error %v, want the context's", err)
					}
					time.Sleep(2 * time.Second) // what it calls for is done
				}
				s, err := l.FamilyStatus(t.Context(), "m")
				if err != nil {
					t.Fatal(err)
				}
				most := 50 + 100*float64(time.Since(start))/float64(24*time.Hour)
				if level := s.Buckets[0].Level; len(s.Line) > 0 || level < 50 || level > most {
					t.Errorf("%d places in the line, level %v: want none, and 50 to %.2f", len(s.Line), level, most)
				}
			})
		})
	}
}
