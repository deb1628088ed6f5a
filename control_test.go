package throttle_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
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
