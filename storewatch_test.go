package throttle_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// A store's clock that is set is noticed, mints nothing when it goes back, and doesn't stop a key for as long as it was
// ahead.
func TestStoreClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset atomic.Int64
				store := memory.New(memory.WithClock(func() bucket.Micros { return bucket.At(time.Now()) + bucket.Micros(offset.Load()) }))
				var steps []time.Duration
				l := throttle.New(&remote{Driver: store, trip: time.Millisecond}, throttle.Static(throttle.PerMinute("tokens", 60)),
					throttle.WithHooks(&throttle.Hooks{ClockStepped: func(i throttle.ClockSteppedInfo) { steps = append(steps, i.Step) }}))
				defer l.Close()
				try := func(tokens float64) error {
					_, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": tokens})
					synctest.Wait() // the hook may be called after it
					return err
				}
				if err := try(60); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				offset.Store(int64(bucket.MicrosOf(step)))
				if step < 0 {
					if err := try(2); err == nil {
						t.Error("a step back has minted capacity")
					}
				} else if err := try(60); err != nil {
					t.Errorf("a step forward looks like idle time, and refills a burst: %v", err)
				}
				if len(steps) != 1 || (steps[0]-step).Abs() > time.Second {
					t.Errorf("told of steps %v, want %v", steps, step)
				}
				// From here on it refills as ever.
				time.Sleep(10 * time.Second)
				if err := try(11.5); err == nil {
					t.Error("the step has minted capacity")
				}
				if err := try(8); err != nil {
					t.Errorf("the key stands still after the step: %v", err)
				}
				if len(steps) != 1 {
					t.Errorf("told of steps %v", steps)
				}
			})
		})
	}
}

func TestLostStateIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store atomic.Pointer[driver.Driver]
		fresh := func() { d := driver.Driver(memory.New()); store.Store(&d) }
		fresh()
		var lost []throttle.StateMissingInfo
		l := throttle.New(&remote{Driver: swapped{&store}, trip: time.Millisecond}, throttle.Static(throttle.PerMinute("tokens", 60)),
			throttle.WithHooks(&throttle.Hooks{StateMissing: func(i throttle.StateMissingInfo) { lost = append(lost, i) }}))
		defer l.Close()
		use := func() {
			if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 30}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the hook may be called after it
		}
		use()
		time.Sleep(time.Minute) // refilled: absent again, as it should be
		fresh()
		use()
		if len(lost) != 0 {
			t.Errorf("a key that refilled was taken for lost: %+v", lost)
		}
		time.Sleep(time.Second)
		fresh() // FLUSHALL
		use()
		if len(lost) != 1 || lost[0].Family != "m" {
			t.Errorf("told of %+v, want one lost state of m", lost)
		}
	})
}

// swapped is a driver that can be put in another's place.
type swapped struct {
	now *atomic.Pointer[driver.Driver]
}

func (s swapped) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	return (*s.now.Load()).Apply(ctx, batch)
}

func (s swapped) Close() error { return nil }

// A clock that went ahead and came back leaves states that lie in the future: frozen, until the limiter rebases them.
func TestStoreClockThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		store := memory.New(memory.WithClock(func() bucket.Micros { return bucket.At(time.Now()) + bucket.Micros(offset.Load()) }))
		l := throttle.New(&remote{Driver: store, trip: time.Millisecond}, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		granted := 0.0
		try := func(tokens float64) bool {
			_, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": tokens})
			if err == nil {
				granted += tokens
			}
			return err == nil
		}
		start := time.Now()
		try(60)
		for range 5 {
			offset.Store(int64(bucket.Hour))
			time.Sleep(time.Second)
			try(60)
			offset.Store(0)
			time.Sleep(time.Second)
			try(1)
		}
		// Each step forward may refill a burst, once; nothing else does.
		if most := 60 + 5*60 + time.Since(start).Seconds(); granted > most {
			t.Errorf("%v tokens granted, want %v at most", granted, most)
		}
		time.Sleep(30 * time.Second)
		if !try(25) {
			t.Error("the key stands still after its clock came back")
		}
	})
}

// A store's clock that stands still, as a suspended server's does, wasn't set back: nothing is rebased.
func TestStoreClockStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		still := bucket.At(time.Now())
		store := &asked{Driver: memory.New(memory.WithClock(func() bucket.Micros { return still }))}
		l := throttle.New(store, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		for range 4 {
			if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		still -= bucket.Hour // this is what a rebase is for
		for range 2 {
			if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
		}
		// The answer to the fifth call tells of the step; the sixth goes with a rebase.
		if len(store.rebased) != 1 || store.rebased[0] != 6 {
			t.Errorf("rebased with requests %v, want with the sixth alone", store.rebased)
		}
	})
}

// asked notes which requests rebase.
type asked struct {
	driver.Driver
	requests int
	rebased  []int
}

func (a *asked) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	for _, r := range batch {
		a.requests++
		if slices.ContainsFunc(r.Ops, func(o bucket.Op) bool { return o.Kind == bucket.Rebase }) {
			a.rebased = append(a.rebased, a.requests)
		}
	}
	return a.Driver.Apply(ctx, batch)
}

func (a *asked) Close() error { return nil }

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

// silent is a driver whose subscription is never answered.
type silent struct {
	*remote
	asked atomic.Int64
}

func (s *silent) Notify(ctx context.Context, _ func(key, place string)) (stop func(), err error) {
	s.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// While a subscription is on its way nobody begins another, and Close doesn't wait until its time is up.
func TestSubscriptionOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &silent{remote: &remote{Driver: memory.New(), trip: time.Millisecond}}
		l := throttle.New(d, throttle.Static(throttle.PerSecond("tokens", 1000)), throttle.StoreTimeout(time.Hour))
		for range 1200 { // those after the first thousand wait
			if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
		}
		if got := d.asked.Load(); got != 1 {
			t.Errorf("subscribed %d times, want once", got)
		}
		begin := time.Now()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Close took %v, want it to end the subscription", took)
		}
	})
}
