package tally_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// failure is what a broken store returns.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// far is the memory driver as a store that isn't in the process, so that the limiter batches for it.
type far struct {
	driver.Driver
	err atomic.Value // of failure
}

func (f *far) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err, _ := f.err.Load().(failure); err.error != nil {
		return nil, err
	}
	time.Sleep(3 * time.Millisecond)
	return f.Driver.Apply(ctx, batch)
}

func flows(t *tally.Tally) map[string]*tally.Flow {
	m := map[string]*tally.Flow{}
	for f := range t.Flows() {
		m[f.Family+"/"+f.Flow] = f
	}
	return m
}

func TestWhatIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := tally.New(tally.Options{})
		d := &far{Driver: memory.New()}
		l := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 6000), throttle.PerMinute("tokens", 60)), throttle.WithHooks(count.Hooks()))
		defer l.Close()
		ctx := t.Context()
		a, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 40})
		if err != nil {
			t.Fatal(err)
		}
		b, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 20})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
			t.Fatal(err)
		}
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 61}); err == nil {
			t.Fatal("granted above the burst")
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			_, _ = l.Acquire(short, "m", throttle.Usage{"tokens": 60})
		})
		wg.Go(func() { _, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 2}, throttle.Flow("x", 1)) })
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		if got := flows(count)["m/"].Waiting; got != 2 {
			t.Errorf("%d wait, want 2", got)
		}
		wg.Wait()
		if err := a.Settle(ctx, throttle.Usage{"requests": 1, "tokens": 10}); err != nil { // 30 back
			t.Fatal(err)
		}
		if err := b.Settle(ctx, throttle.Usage{"tokens": 25}); err != nil { // 5 beyond
			t.Fatal(err)
		}
		if err := l.Record(ctx, "m", throttle.Usage{"tokens": 3}); err != nil {
			t.Fatal(err)
		}

		f := flows(count)["m/"]
		if f.Acquired != 3 || f.Settled != 2 || f.Unwaited != 2 || f.Waiting != 0 {
			t.Errorf("acquired %d, settled %d, unwaited %d, waiting %d; want 3, 2, 2, 0", f.Acquired, f.Settled, f.Unwaited, f.Waiting)
		}
		tokens := f.Resources[slices.IndexFunc(f.Resources, func(r tally.Resource) bool { return r.Name == "tokens" })]
		if tokens.Reserved != 60 || tokens.Used != 38 || tokens.Refunded != 30 || tokens.Debt != 8 {
			t.Errorf("tokens %+v, want 60 reserved (and 2 not yet settled), 38 used, 30 refunded, 8 of debt", tokens)
		}
		if got := tokens.Ratio.Cumulative(); tokens.Ratio.Count() != 2 || got[.25] != 1 || got[1] != 1 || got[1.25] != 2 {
			t.Errorf("ratios %v: want 0.25 and 1.25", got)
		}
		if h := f.Waits["tokens"]; h == nil || h.Count() != 2 || len(f.Waits) != 1 || h.Sum < 1.9 || h.Sum > 3.1 {
			t.Errorf("waits %+v: want one of a second and one of two, for tokens", f.Waits)
		}
		if want := map[string]uint64{"deadline_exceeded": 1}; !maps.Equal(f.Abandoned, want) {
			t.Errorf("abandoned %v, want %v", f.Abandoned, want)
		}
		if want := []tally.Refused{{"no_capacity", "tokens", 1}, {"too_large", "tokens", 1}}; len(f.Refused) != 2 || !slices.Contains(f.Refused, want[0]) || !slices.Contains(f.Refused, want[1]) {
			t.Errorf("refused %v, want %v", f.Refused, want)
		}

		d.err.Store(failure{driver.ErrUnknownOutcome})
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 1}); err == nil {
			t.Fatal("granted by a broken store")
		}
		synctest.Wait() // for hooks that nobody waits for
		s := count.Store()
		failed := s.Errors["unknown_outcome"] // the call, and what gives up its place in case it has one
		if failed < 1 || failed > 2 || s.Errors["timeout"] != 0 || len(s.Errors) != len(tally.StoreErrors) {
			t.Errorf("store errors %v", s.Errors)
		}
		if s.Took.Count() != s.Operations.Count()+failed || s.Took.Cumulative()[.0025] != failed || s.Took.Cumulative()[.005] != s.Took.Count() {
			t.Errorf("round trips %+v, want 3 ms each and the failed ones at once", s.Took)
		}
	})
}

func TestFlowsAreToldApartWhereListed(t *testing.T) {
	count := tally.New(tally.Options{Flows: []string{"a", "b", tally.Other, "a"}})
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 60)), throttle.WithHooks(count.Hooks()))
	defer l.Close()
	for i, flow := range []string{"b", "a", "b", "someone else", "a third"} {
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": float64(i)}, throttle.Flow(flow, 1)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]uint64{}
	for name, f := range flows(count) {
		got[name] = f.Acquired
	}
	if want := map[string]uint64{"m/a": 1, "m/b": 2, "m/other": 2}; !maps.Equal(got, want) {
		t.Errorf("acquired %v, want %v", got, want)
	}
}

// However many families and resources a program makes up, what is kept is bounded, and nothing goes uncounted.
func TestFamiliesAndResourcesAreBounded(t *testing.T) {
	count := tally.New(tally.Options{MaxFamilies: 3})
	n := 0
	l := throttle.New(memory.New(), func(_ context.Context, model string) (throttle.Model, error) {
		n++
		return throttle.Model{Family: model, Quotas: []throttle.Quota{throttle.PerDay(fmt.Sprintf("resource%d", n), 10)}}, nil
	}, throttle.WithHooks(count.Hooks()))
	defer l.Close()
	var acquired, reserved float64
	for i := range 200 {
		r, err := l.Acquire(t.Context(), fmt.Sprintf("m%d", i%10), throttle.Usage{fmt.Sprintf("resource%d", i+1): 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	all := flows(count)
	for name, f := range all {
		acquired += float64(f.Acquired)
		for _, r := range f.Resources {
			reserved += r.Reserved
		}
		if len(f.Resources) > 16 {
			t.Errorf("%s has %d resources", name, len(f.Resources))
		}
	}
	if len(all) != 4 || all["other/"] == nil || all["m2/"] == nil || acquired != 200 || reserved != 200 {
		t.Errorf("%d families, %v acquired, %v reserved; want the first three and other, 200, 200", len(all), acquired, reserved)
	}
}

func TestCountsAddUpFromManyGoroutines(t *testing.T) {
	count := tally.New(tally.Options{})
	l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1e9)), throttle.WithHooks(count.Hooks()))
	defer l.Close()
	const goroutines, each = 8, 500
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 4})
				if err != nil {
					t.Error(err)
					return
				}
				if err := r.Settle(t.Context(), throttle.Usage{"tokens": 1}); err != nil {
					t.Error(err)
				}
				for range count.Flows() {
					break
				}
			}
		})
	}
	wg.Wait()
	f := flows(count)["m/"]
	if r := f.Resources[0]; f.Acquired != goroutines*each || r.Used != goroutines*each || r.Refunded != 3*goroutines*each {
		t.Errorf("acquired %d, %+v; want %d calls that gave 3 of 4 back", f.Acquired, r, goroutines*each)
	}
}
