package throttle_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestPauseSetLimitObserve(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		ctx := t.Context()
		if err := l.Pause(ctx, "m", 10*time.Second); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("a pause of 10 s took %v", took)
		}
		if err := l.SetLimit(ctx, "m", throttle.PerMinute("tokens", 6000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := level(t, l, "m"); got < 5999 {
			t.Errorf("level %v under the raised limit", got)
		}
		if err := l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: 100}); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); got < 100 || got > 102 {
			t.Errorf("level %v after 100 were observed", got)
		}
		if err := l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: math.NaN(), Limit: 120}); err != nil {
			t.Fatal(err)
		}
		s, _ := l.Status(ctx, "m")
		if b := s.Buckets[0]; b.Limit != 120 || !b.Overridden {
			t.Errorf("observed limit not followed: %+v", b)
		}
		if err := l.ClearLimit(ctx, "m", "tokens", time.Minute); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); got > 60 {
			t.Errorf("level %v above the quota's own burst", got)
		}
		var argument *throttle.ArgumentError
		if err := l.SetLimit(ctx, "m", throttle.PerHour("tokens", 1)); !errors.As(err, &argument) {
			t.Errorf("no such quota: %v", err)
		}
	})
}

// Who waits for more than a lowered limit will ever hold learns so then, not when it would have been served.
func TestLoweredLimitEndsWaitsThatAreInVain(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		day := throttle.PerDay("tokens", 60)
		l := throttle.New(d, throttle.Static(day))
		defer l.Close()
		other := throttle.New(d, throttle.Static(day)) // of the same process, or of another one
		defer other.Close()
		if err := l.Record(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		waits := make(chan error, 1)
		go func() {
			_, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50})
			waits <- err
		}()
		time.Sleep(10 * time.Second)
		lowered := time.Now()
		if err := other.SetLimit(t.Context(), "m", throttle.PerDay("tokens", 10)); err != nil {
			t.Fatal(err)
		}
		var tooLarge *throttle.TooLargeError
		if err := <-waits; !errors.As(err, &tooLarge) || tooLarge.Usage != 50 || tooLarge.Burst != 0 {
			t.Errorf("error %v, want a TooLargeError that doesn't say that 50 can't fit into 60", err)
		}
		if took := time.Since(lowered); took > 2*time.Second {
			t.Errorf("told %v after the limit was lowered", took)
		}
	})
}

// A provider may tell of more than the family limits.
func TestObserveIgnoresWhatIsNotLimited(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
		defer l.Close()
		err := l.Observe(t.Context(), "m", throttle.Observation{Resource: "requests"},
			throttle.Observation{Resource: "tokens", Per: time.Hour}, throttle.Observation{Resource: "tokens", Remaining: 40})
		if err != nil {
			t.Fatal(err)
		}
		if got := level(t, l, "m"); math.Abs(got-40) > 0.1 {
			t.Errorf("level %v, want 40", got)
		}
	})
}

func TestStatusOfAPause(t *testing.T) {
	for _, c := range []struct {
		blocked bucket.Micros
		paused  bool
	}{{0, false}, {5, false}, {6, true}} {
		s := throttle.StatusOf("f", &bucket.State{At: 5, Blocked: c.blocked})
		if s.Paused.IsZero() == c.paused || c.paused && !s.Paused.Equal(c.blocked.Time()) {
			t.Errorf("at 5, blocked until %d: paused until %v", c.blocked, s.Paused)
		}
	}
	var argument *throttle.ArgumentError
	if _, err := throttle.New(nil, nil).FamilyStatus(t.Context(), "m"); !errors.As(err, &argument) {
		t.Errorf("a limiter without a driver: %v", err)
	}
}

// A limit that is set where nothing is limited would be forgotten in silence.
func TestSetLimitOfAModelWithoutLimits(t *testing.T) {
	l := throttle.New(memory.New(), throttle.Unlimited())
	defer l.Close()
	var argument *throttle.ArgumentError
	if err := l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 5)); !errors.As(err, &argument) {
		t.Errorf("SetLimit: error %v, want an ArgumentError", err)
	}
	if err := l.ClearLimit(t.Context(), "m", "tokens", time.Minute); !errors.As(err, &argument) {
		t.Errorf("ClearLimit: error %v, want an ArgumentError", err)
	}
	if err := l.Pause(t.Context(), "m", time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
		t.Errorf("after a pause that there can't be: %v", err)
	}
}

// A usage above a limit that was set at run time is refused for that limit's sake, whichever of the two is the larger.
func TestTooLargeForALimitSetAtRunTime(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 100), throttle.PerHour("tokens", 1e6)))
		defer l.Close()
		calls := map[string]func() error{
			"Acquire":    func() error { _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 2000}); return err },
			"TryAcquire": func() error { _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 2000}); return err },
		}
		for _, c := range []struct{ limit, burst float64 }{{100, 100}, {1000, 0}, {10, 0}} {
			if c.limit != 100 {
				must(t, l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", c.limit)))
			}
			for name, call := range calls {
				var e *throttle.TooLargeError
				if err := call(); !errors.As(err, &e) || e.Burst != c.burst || e.Per != time.Minute {
					t.Errorf("%s under a limit of %v: error %v with a burst of %v, want %v", name, c.limit, err, e.Burst, c.burst)
				}
			}
		}
	})
}

// A pause is at most as long as the arithmetic reckons, ten years, and a longer one is that long.
func TestLongestPause(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 100)))
		defer l.Close()
		must(t, l.Pause(t.Context(), "m", 50*365*24*time.Hour))
		s, err := l.Status(t.Context(), "m")
		must(t, err)
		if years := s.Paused.Sub(s.Now).Hours() / 24 / 365.25; years < 9.9 || years > 10.1 {
			t.Errorf("paused for %.2f years, want ten", years)
		}
	})
}
