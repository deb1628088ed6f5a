package throttle_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// waited starts an acquire and, once it stands in line, returns a channel that tells how long it waited; -1 if in vain.
func waited(t *testing.T, l *throttle.Limiter, model string, u throttle.Usage, options ...throttle.CallOption) <-chan time.Duration {
	t.Helper()
	start, c := time.Now(), make(chan time.Duration, 1)
	go func() {
		if _, err := l.Acquire(t.Context(), model, u, options...); err != nil {
			t.Error(err)
			c <- -1
			return
		}
		c <- time.Since(start)
	}()
	time.Sleep(10 * time.Millisecond)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lateness is how late each kind of store may notice that somebody's turn has come nearer: a store in the process at
// once, others with their next poll.
var lateness = map[string]time.Duration{"local": 10 * time.Millisecond, "remote": 120 * time.Millisecond, "notifying": 1100 * time.Millisecond}

// Whatever brings a turn nearer, without its being there yet, is noticed: who waits is served at his new instant and not
// at the one that he was told first.
func TestATurnComesNearer(t *testing.T) {
	tokens := func(n float64) throttle.Usage { return throttle.Usage{"tokens": n} }
	perMinute := []throttle.Quota{throttle.PerMinute("tokens", 60)}
	for name, c := range map[string]struct {
		quotas []throttle.Quota
		run    func(t *testing.T, l *throttle.Limiter) <-chan time.Duration
		want   time.Duration // since the call came
	}{
		"a part of what is missing is given back": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			r, err := l.Acquire(t.Context(), "m", tokens(50))
			must(t, err)
			must(t, l.Record(t.Context(), "m", tokens(10)))
			c := waited(t, l, "m", tokens(60))
			time.Sleep(time.Second)
			must(t, r.Settle(t.Context(), tokens(0)))
			return c
		}, 10 * time.Second},
		"a limit is raised, and lowered, and cleared": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			must(t, l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 1).WithBurst(60)))
			c := waited(t, l, "m", tokens(60))
			must(t, l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 2).WithBurst(60)))
			must(t, l.ClearLimit(t.Context(), "m", "tokens", time.Minute))
			return c
		}, time.Minute},
		"a provider says that the limit is higher": {[]throttle.Quota{throttle.PerHour("tokens", 60)}, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			c := waited(t, l, "m", tokens(60))
			must(t, l.Observe(t.Context(), "m", throttle.Observation{Resource: "tokens", Limit: 3600, Remaining: 0}))
			return c
		}, time.Minute},
		"a pause is ended": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			must(t, l.Pause(t.Context(), "m", time.Hour))
			c := waited(t, l, "m", tokens(10))
			must(t, l.Pause(t.Context(), "m", 0))
			return c
		}, 10 * time.Second},
		"one ahead leaves": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			go func() { _, _ = l.Acquire(ctx, "m", tokens(50), throttle.Flow("a", 1)) }()
			time.Sleep(10 * time.Millisecond)
			return waited(t, l, "m", tokens(10), throttle.Flow("b", 1))
		}, 10 * time.Second},
		"one ahead leaves its place to one who wants less": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			t.Cleanup(cancel)
			go func() { _, _ = l.Acquire(ctx, "m", tokens(50), throttle.Flow("a", 1)) }()
			time.Sleep(10 * time.Millisecond)
			waited(t, l, "m", tokens(5), throttle.Flow("a", 1))
			return waited(t, l, "m", tokens(10), throttle.Flow("b", 1))
		}, 15 * time.Second},
		"one ahead wants more than there can be": {perMinute, func(t *testing.T, l *throttle.Limiter) <-chan time.Duration {
			must(t, l.Record(t.Context(), "m", tokens(60)))
			go func() { _, _ = l.Acquire(t.Context(), "m", tokens(50), throttle.Flow("a", 1)) }()
			time.Sleep(10 * time.Millisecond)
			c := waited(t, l, "m", tokens(10), throttle.Flow("b", 1))
			must(t, l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 60).WithBurst(40)))
			return c
		}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			for store, late := range lateness {
				t.Run(store, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						l := throttle.New(stores[store](), throttle.Static(c.quotas...))
						defer l.Close()
						// Round trips and the time until a call stands in line come on top, and off.
						if got := <-c.run(t, l); got < c.want-100*time.Millisecond || got > c.want+late {
							t.Errorf("granted after %v, want %v, and at most %v later", got, c.want, late)
						}
					})
				})
			}
		})
	}
}

// New quotas count for those who wait already.
func TestQuotasChangeWhileOneWaits(t *testing.T) {
	for store, late := range lateness {
		t.Run(store, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var swapped atomic.Bool
				l := throttle.New(stores[store](), changing(&swapped,
					[]throttle.Quota{throttle.PerHour("requests", 1)}, []throttle.Quota{throttle.PerSecond("requests", 1)}))
				defer l.Close()
				must(t, l.Record(t.Context(), "m", throttle.Usage{"requests": 1}))
				c := waited(t, l, "m", throttle.Usage{"requests": 1})
				swapped.Store(true)
				second := waited(t, l, "m", throttle.Usage{"requests": 1})
				if got := <-c; got > time.Second+20*time.Millisecond+late {
					t.Errorf("granted after %v, want a second", got)
				}
				<-second
			})
		})
	}
}

// What one limiter gives back brings those of another on the same store nearer.
func TestATurnComesNearerInAnotherLimiter(t *testing.T) {
	for store, late := range map[string]time.Duration{"local": 110 * time.Millisecond, "remote": 120 * time.Millisecond, "notifying": 1100 * time.Millisecond} {
		t.Run(store, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, models := stores[store](), throttle.Static(throttle.PerMinute("tokens", 60))
				a, b := throttle.New(d, models), throttle.New(d, models)
				defer a.Close()
				defer b.Close()
				r, err := a.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50})
				must(t, err)
				must(t, a.Record(t.Context(), "m", throttle.Usage{"tokens": 10}))
				c := waited(t, b, "m", throttle.Usage{"tokens": 60})
				time.Sleep(time.Second)
				must(t, r.Cancel(t.Context()))
				if got := <-c; got > 10*time.Second+late {
					t.Errorf("granted after %v, want 10 s", got)
				}
			})
		})
	}
}

// A crowd that settles all the time makes the lookout look now and then, not each time.
func TestLookoutRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counted{Driver: memory.New()}
		l := throttle.New(store, throttle.Static(throttle.PerDay("tokens", 1e6)))
		defer l.Close()
		r := make([]*throttle.Reservation, 1000)
		for i := range r {
			var err error
			r[i], err = l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1000})
			must(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 1e6}) }()
		synctest.Wait()
		before := store.locks.Load()
		for i := range r {
			time.Sleep(100 * time.Microsecond)
			must(t, r[i].Settle(t.Context(), throttle.Usage{"tokens": 999}))
		}
		// 100 ms: ten looks and as many questions, besides the settlements themselves.
		if n := store.locks.Load() - before - 1000; n > 40 {
			t.Errorf("1000 settlements in 100 ms looked at the store %d times more, want about 20", n)
		}
	})
}

// counted counts how often its keys are used.
type counted struct {
	*memory.Driver
	locks atomic.Int64
}

func (d *counted) Pin(key string) driver.Pinned { return &countedPin{d.Driver.Pin(key), d} }

type countedPin struct {
	driver.Pinned
	driver *counted
}

func (p *countedPin) Lock() (*bucket.State, error) {
	p.driver.locks.Add(1)
	return p.Pinned.Lock()
}

// One who would rather not wait isn't refused for what was true before something was given back.
func TestFailFastKnowsWhatWasGivenBack(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 40})
		must(t, err)
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 20}))
		c := waited(t, l, "m", throttle.Usage{"tokens": 50})
		must(t, r.Cancel(t.Context())) // of the 50 s that it was to wait 10 are left
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 5}, throttle.FailFast()); err != nil {
			t.Errorf("refused: %v", err)
		}
		if got := <-c; got > 12*time.Second {
			t.Errorf("the one ahead was granted after %v, want 10 s", got)
		}
		var late *throttle.DeadlineError
		must(t, l.Record(t.Context(), "m", throttle.Usage{"tokens": 60}))
		last := waited(t, l, "m", throttle.Usage{"tokens": 50})
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 5}, throttle.FailFast()); !errors.As(err, &late) {
			t.Errorf("error %v, want a DeadlineError", err)
		}
		<-last
	})
}
