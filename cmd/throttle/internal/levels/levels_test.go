package levels

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestReadFindsEveryFamilyInUse(t *testing.T) {
	d := memory.New()
	lim := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
	defer lim.Close()
	const families = 2*perBatch + 1
	for i := range families {
		if err := lim.Record(t.Context(), fmt.Sprintf("m%03d", i), throttle.Usage{"tokens": float64(i%50 + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Read(t.Context(), d)
	if err != nil || len(all) != families {
		t.Fatalf("%d families, %v", len(all), err)
	}
	for i, s := range all {
		if want := fmt.Sprintf("m%03d", i); s.Family != want {
			t.Errorf("family %d is %s", i, s.Family)
		}
		if level := s.Buckets[0].Level; level > 100-float64(i%50) || level < 98-float64(i%50) {
			t.Errorf("%s: level %v", s.Family, level)
		}
	}
	some, err := Read(t.Context(), d, "m007", "nobody", "m003", "m007")
	if err != nil || len(some) != 2 || some[0].Family != "m003" || some[1].Family != "m007" {
		t.Errorf("%v, %+v", err, some)
	}
}

// unlisted hides what else a driver can do.
type unlisted struct{ driver.Driver }

func TestReadOfAStoreThatCannotList(t *testing.T) {
	d := unlisted{memory.New()}
	if _, err := Read(t.Context(), d); !errors.Is(err, ErrNoLister) {
		t.Errorf("%v", err)
	}
	if all, err := Read(t.Context(), d, "a"); err != nil || len(all) != 0 {
		t.Errorf("%v, %+v", err, all)
	}
}

func TestLineSaysWhoWaitsForWhatAndHowLong(t *testing.T) {
	d := memory.New()
	waiting := make(chan struct{}, 3)
	hooks := throttle.WithHooks(&throttle.Hooks{WaitStarted: func(context.Context, throttle.WaitInfo) { waiting <- struct{}{} }})
	models := throttle.Static(throttle.PerDay("tokens", 100))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 3)
	for i, flow := range []string{"batch", "batch", "production"} {
		lim := throttle.New(d, models, hooks, throttle.Flow(flow, 1))
		defer lim.Close()
		if i == 0 {
			if err := lim.Record(ctx, "m", throttle.Usage{"tokens": 100}); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			_, _ = lim.Acquire(ctx, "m", throttle.Usage{"tokens": 50}) // it is cancelled
			ended <- struct{}{}
		}()
		<-waiting
	}
	all, err := Read(ctx, d)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %+v", err, all)
	}
	f := FamilyOf(all[0])
	if len(f.Line) != 3 || f.Line[0].Usage["tokens"] != 50 || f.PausedUntil != nil || f.Buckets[0].Per != 86400 || f.Buckets[0].FullIn < 86000 {
		t.Errorf("%+v", f)
	}
	// 50 tokens come back in half a day, and each waits for those ahead.
	for i, p := range f.Line {
		if want := 43_200 * float64(i+1); p.Binds == nil || *p.Binds != (Quota{"tokens", 86400}) || p.Expected < want-60 || p.Expected > want+60 || p.Waited < 0 || p.Waited > 60 {
			t.Errorf("place %d: %+v with %+v, want it expected in %v s, bound by tokens a day", i+1, p, p.Binds, want)
		}
	}
	cancel()
	for range 3 {
		<-ended
	}
}

// What package fallback counts processes by isn't a family, and isn't shown as one that is paused for ever.
func TestReadLeavesOutWhatCountsProcesses(t *testing.T) {
	d := memory.New()
	lim := throttle.New(fallback.Share(d, nil), throttle.Static(throttle.PerDay("tokens", 100)))
	defer lim.Close()
	if err := lim.Record(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
		t.Fatal(err)
	}
	all, err := Read(t.Context(), d)
	if err != nil || len(all) != 1 || all[0].Family != "m" {
		t.Errorf("%+v, %v, want m alone", all, err)
	}
}
