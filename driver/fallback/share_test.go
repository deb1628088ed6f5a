package fallback_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// alone runs f in an outage of a store of 800 tokens a minute that eight processes share, noticed at the bubble's start.
func alone(t *testing.T, f func(t *testing.T, s *store, l *throttle.Limiter)) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		d := fallback.Share(s, &fallback.Options{Processes: 8})
		defer d.Close()
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 800)))
		defer l.Close()
		s.down.Store(true)
		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
			t.Fatalf("a share that has just begun: %v, want it empty", err)
		}
		f(t, s, l)
	})
}

func tokens(n float64) throttle.Usage { return throttle.Usage{"tokens": n} }

// However large requests are, and however they alternate, a share of 100 a minute grants 1,000 in ten minutes, and what
// the last of them cost beyond the share's burst.
func TestShareIsTheSameForEverySize(t *testing.T) {
	for _, sizes := range [][]float64{{1}, {100}, {101}, {300}, {800}, {800, 1}, {1, 800}, {99, 350, 10}} {
		alone(t, func(t *testing.T, _ *store, l *throttle.Limiter) {
			granted, largest := 0.0, 0.0
			for begin := time.Now(); time.Since(begin) < 10*time.Minute; time.Sleep(time.Second) {
				for _, n := range sizes {
					largest = max(largest, n)
					if _, err := l.TryAcquire(t.Context(), "m", tokens(n)); err == nil {
						granted += n
					} else if !errors.Is(err, throttle.ErrNoCapacity) {
						t.Fatal(err)
					}
				}
			}
			if most := 1000 + max(0, largest-100); granted > most || granted == 0 {
				t.Errorf("requests of %v: %v granted in ten minutes, want up to %v", sizes, granted, most)
			}
		})
	}
}

// What costs more than the share's burst is granted at the instant that its hint names, when the share is full, and owed.
func TestShareGrantsTheWholeBurst(t *testing.T) {
	alone(t, func(t *testing.T, _ *store, l *throttle.Limiter) {
		var refused *throttle.CapacityError
		if _, err := l.TryAcquire(t.Context(), "m", tokens(800)); !errors.As(err, &refused) {
			t.Fatal(err)
		}
		time.Sleep(refused.RetryAfter - time.Millisecond)
		if _, err := l.TryAcquire(t.Context(), "m", tokens(800)); err == nil {
			t.Error("granted before its hint")
		}
		time.Sleep(time.Millisecond)
		r, err := l.TryAcquire(t.Context(), "m", tokens(800))
		if err != nil {
			t.Fatalf("at its hint, after %v: %v", refused.RetryAfter, err)
		}
		if got := level(t, l); got != -700 {
			t.Errorf("level %v after 800 of a share of 100, want -700", got)
		}
		if err := r.Settle(t.Context(), tokens(50)); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l); got != 50 {
			t.Errorf("level %v after 750 of the 800 were given back, want 50", got)
		}
		var large *throttle.TooLargeError
		if _, err := l.TryAcquire(t.Context(), "m", tokens(801)); !errors.As(err, &large) || large.Burst != 800 {
			t.Errorf("more than the whole burst: %v, want a *TooLargeError that names 800", err)
		}
	})
}

// A window of a resource holds back, and owes, for itself: the tightest says when the share is full, and each is debited all.
func TestShareOfManyQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := fallback.Share(s, &fallback.Options{Processes: 8})
		defer d.Close()
		l := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 80), throttle.PerMinute("tokens", 800), throttle.PerHour("tokens", 8000)))
		defer l.Close()
		_, _ = l.TryAcquire(t.Context(), "m", tokens(1))
		time.Sleep(30 * time.Minute)
		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"requests": 4, "tokens": 300}); err != nil {
			t.Fatal(err)
		}
		status, err := l.Status(t.Context(), "m")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{10 - 4, 100 - 300, 500 - 300} {
			if got := status.Buckets[i].Level; math.Abs(got-want) > 1e-6 {
				t.Errorf("level %v of bucket %d, want %v", got, i, want)
			}
		}
	})
}

// A request of a third of an hour's share must not wait for ever behind small ones.
func TestShareStarvesNobody(t *testing.T) {
	alone(t, func(t *testing.T, _ *store, l *throttle.Limiter) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		large := make(chan error, 1)
		go func() {
			_, err := l.Acquire(ctx, "m", tokens(300), throttle.Flow("a", 1))
			large <- err
		}()
		begin := time.Now()
		for {
			_, _ = l.TryAcquire(ctx, "m", tokens(1), throttle.Flow("b", 1))
			select {
			case err := <-large:
				if took := time.Since(begin); err != nil || took > 5*time.Minute {
					t.Errorf("after %v: %v", took, err)
				}
				return
			case <-time.After(time.Second):
			}
		}
	})
}

// Those who wait behind the head of a process are served in one request, and each still depends on the one before.
func TestShareServesAChain(t *testing.T) {
	limits := quota(t, "tokens", 800, bucket.Minute)
	acquire := func(cost float64, place string, after bool) bucket.Op {
		return bucket.Op{Kind: bucket.Acquire, Cost: []float64{cost}, Place: place, After: after, Grace: bucket.Hour}
	}
	for _, c := range []struct {
		name string
		ops  []bucket.Op
		want []bucket.Status
	}{
		{"the head is refused", []bucket.Op{acquire(800, "p", false), acquire(1, "p", true), acquire(1, "p", true)},
			[]bucket.Status{bucket.Refused, bucket.Skipped, bucket.Skipped}},
		{"the head fits", []bucket.Op{acquire(10, "p", false), acquire(40, "p", true), acquire(60, "p", true), acquire(1, "p", true)},
			[]bucket.Status{bucket.Granted, bucket.Granted, bucket.Refused, bucket.Skipped}},
		{"the head takes all and more", []bucket.Op{acquire(800, "p", false), acquire(0, "p", true), acquire(1, "p", true)},
			[]bucket.Status{bucket.Granted, bucket.Granted, bucket.Refused}},
		{"the head can't ever fit", []bucket.Op{acquire(801, "p", false), acquire(1, "p", true)},
			[]bucket.Status{bucket.TooLarge, bucket.Skipped}},
		{"nothing is before the first", []bucket.Op{acquire(1, "", true)}, []bucket.Status{bucket.Skipped}},
		{"the one before is no acquire", []bucket.Op{{Kind: bucket.Record}, acquire(1, "", true)}, []bucket.Status{bucket.Done, bucket.Skipped}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{Driver: memory.New()}
			s.down.Store(true)
			d := fallback.Share(s, &fallback.Options{Processes: 8})
			defer d.Close()
			apply(t, d, driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Peek}}})
			if c.want[0] != bucket.Refused {
				time.Sleep(time.Minute)
			}
			res := apply(t, d, driver.Request{Key: "k", Limits: limits, Ops: c.ops})
			for i, want := range c.want {
				if res.Results[i].Status != want {
					t.Errorf("%s: operation %d is %v, want %v", c.name, i, res.Results[i].Status, want)
				}
			}
		})
	}
}

// A place is left when what it asks for can't ever be granted, as in the store.
func TestShareLeavesWithWhatIsTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := fallback.Share(s, nil)
		defer d.Close()
		for i, want := range []struct {
			cost    float64
			status  bucket.Status
			waiting int
		}{{800, bucket.Refused, 1}, {801, bucket.TooLarge, 0}} {
			res := apply(t, d, driver.Request{Key: "k", Limits: quota(t, "tokens", 800, bucket.Minute), Ops: []bucket.Op{
				{Kind: bucket.Acquire, Cost: []float64{want.cost}, Place: "p", Grace: bucket.Hour}}})
			if res.Results[0].Status != want.status || res.Waiting != want.waiting {
				t.Errorf("request %d: %v, %d waiting, want %v, %d", i, res.Results[0].Status, res.Waiting, want.status, want.waiting)
			}
		}
	})
}

// The store is told of all that was used, the debt of a share included, and of all models of a family.
func TestShareTellsDebts(t *testing.T) {
	alone(t, func(t *testing.T, s *store, l *throttle.Limiter) {
		if _, err := l.Acquire(t.Context(), "m", tokens(800)); err != nil {
			t.Fatal(err)
		}
		_, _ = l.TryAcquire(t.Context(), "m", tokens(1))
		s.down.Store(false)
		time.Sleep(2 * time.Second)
		if got := level(t, l); got < 0 || got > 30 {
			t.Errorf("level %v two seconds after all 800 were granted, want up to 27", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		d := fallback.Share(s, nil)
		defer d.Close()
		quotas := map[string][]throttle.Quota{
			"a": {throttle.PerDay("requests", 1000), throttle.PerDay("tokens", 1000)},
			"b": {throttle.PerDay("requests", 1000)},
		}
		l := throttle.New(d, func(_ context.Context, model string) (throttle.Model, error) {
			return throttle.Model{Family: "f", Quotas: quotas[model]}, nil
		})
		defer l.Close()
		s.down.Store(true)
		if err := l.Record(t.Context(), "a", throttle.Usage{"requests": 1, "tokens": 700}); err != nil {
			t.Fatal(err)
		}
		if err := l.Record(t.Context(), "b", throttle.Usage{"requests": 2}); err != nil {
			t.Fatal(err)
		}
		s.down.Store(false)
		time.Sleep(2 * time.Second)
		status, err := l.Status(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{997, 300} {
			if got := status.Buckets[i].Level; math.Abs(got-want) > 1 {
				t.Errorf("level %v of %s, want %v", got, status.Buckets[i].Resource, want)
			}
		}
	})
}

// What is said of the whole quota holds for the share by its part.
func TestShareScalesWhatIsSaid(t *testing.T) {
	for _, c := range []struct {
		name string
		say  func(ctx context.Context, l *throttle.Limiter) error
		most float64 // in ten minutes
	}{
		{"nothing", func(context.Context, *throttle.Limiter) error { return nil }, 1000},
		{"our own limit", func(ctx context.Context, l *throttle.Limiter) error {
			return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Limit: 800, Remaining: math.NaN()})
		}, 1000},
		{"half the limit", func(ctx context.Context, l *throttle.Limiter) error {
			return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Limit: 400, Remaining: math.NaN()})
		}, 500},
		{"a limit of 80", func(ctx context.Context, l *throttle.Limiter) error {
			return l.SetLimit(ctx, "m", throttle.PerMinute("tokens", 80).WithBurst(400))
		}, 100},
		{"a limit that is set and cleared", func(ctx context.Context, l *throttle.Limiter) error {
			return errors.Join(l.SetLimit(ctx, "m", throttle.PerMinute("tokens", 80)), l.ClearLimit(ctx, "m", "tokens", time.Minute))
		}, 1000},
	} {
		alone(t, func(t *testing.T, _ *store, l *throttle.Limiter) {
			granted := 0.0
			for begin := time.Now(); time.Since(begin) < 10*time.Minute; time.Sleep(time.Second) {
				for {
					if err := c.say(t.Context(), l); err != nil {
						t.Fatal(err)
					}
					if _, err := l.TryAcquire(t.Context(), "m", tokens(1)); err != nil {
						break
					}
					granted++
				}
			}
			if granted > c.most || granted < c.most*0.97 {
				t.Errorf("%s: %v granted in ten minutes, want %v", c.name, granted, c.most)
			}
		})
	}
	alone(t, func(t *testing.T, _ *store, l *throttle.Limiter) {
		time.Sleep(time.Minute)
		if err := l.Observe(t.Context(), "m", throttle.Observation{Resource: "tokens", Remaining: 400}); err != nil {
			t.Fatal(err)
		}
		if got := level(t, l); got != 50 {
			t.Errorf("level %v after the provider said that half remains, want half the share, 50", got)
		}
		// And what a limit that was set allows at most is the override's burst.
		if err := l.SetLimit(t.Context(), "m", throttle.PerMinute("tokens", 7000).WithBurst(1000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var large *throttle.TooLargeError
		if _, err := l.TryAcquire(t.Context(), "m", tokens(1001)); !errors.As(err, &large) {
			t.Errorf("more than the burst that was set: %v", err)
		}
		if _, err := l.TryAcquire(t.Context(), "m", tokens(1000)); err != nil {
			t.Errorf("the burst that was set: %v", err)
		}
	})
}

// What was set is the same limit whatever it was divided by.
func TestShareOfALimitThatWasSet(t *testing.T) {
	limits := quota(t, "tokens", 800, bucket.Minute)
	for n := 1; n <= 50; n++ {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := fallback.Share(s, &fallback.Options{Processes: n})
		res := apply(t, d, driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{
			{Kind: bucket.SetLimit, Limit: 1009},
			{Kind: bucket.Acquire, Cost: []float64{1009}},
			{Kind: bucket.Acquire, Cost: []float64{1009.001}},
		}})
		for i, want := range []bucket.Status{bucket.Done, bucket.Refused, bucket.TooLarge} {
			if got := res.Results[i].Status; got != want {
				t.Errorf("%d processes, operation %d: %v, want %v", n, i, got, want)
			}
		}
		d.Close()
	}
}

// A share begins empty, whoever comes first or at the same time, and so does a quota that joins it later.
func TestShareBeginsEmpty(t *testing.T) {
	day := quota(t, "r", 100, bucket.Day)
	for range 500 {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := fallback.Share(s, &fallback.Options{Retry: time.Hour})
		apply(t, d, driver.Request{Key: "other"})
		var granted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				res := apply(t, d, driver.Request{Key: "k", Limits: day, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{50}}}})
				if res.Results[0].Status == bucket.Granted {
					granted.Add(1)
				}
			})
		}
		wg.Wait()
		d.Close()
		if granted.Load() > 0 {
			t.Fatal("a share began full")
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := fallback.Share(s, &fallback.Options{Processes: 8})
		defer d.Close()
		peek := func(limits *bucket.Limits) float64 {
			return apply(t, d, driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Peek}}}).Results[0].State.Buckets[0].Level
		}
		if got := peek(quota(t, "tokens", 800, bucket.Minute)); got != 0 {
			t.Errorf("level %v at first", got)
		}
		time.Sleep(30 * time.Second)
		// It is the time since the outage was noticed that refills it, not that since its first request.
		if got := peek(quota(t, "a", 800, bucket.Minute)); got != 50 {
			t.Errorf("level %v of a quota that joined after half a minute, want half a share, 50", got)
		}
	})
}

// A share is worked out of every limit that is allowed.
func TestShareOfTheLeast(t *testing.T) {
	s := &store{Driver: memory.New()}
	s.down.Store(true)
	d := fallback.Share(s, &fallback.Options{Processes: 1000})
	defer d.Close()
	least, err := bucket.NewLimits(bucket.Quota{Resource: "r", Limit: math.SmallestNonzeroFloat64, Per: bucket.MaxSpan, Burst: math.SmallestNonzeroFloat64})
	if err != nil {
		t.Fatal(err)
	}
	res := apply(t, d, driver.Request{Key: "k", Limits: least, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1}}}})
	if res.Results[0].Status != bucket.TooLarge {
		t.Errorf("%v", res.Results[0].Status)
	}
}

func quota(t *testing.T, resource string, limit float64, per bucket.Micros) *bucket.Limits {
	t.Helper()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: resource, Limit: limit, Per: per})
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

func apply(t *testing.T, d driver.Driver, r driver.Request) driver.Response {
	t.Helper()
	responses, err := d.Apply(t.Context(), []driver.Request{r})
	if err != nil {
		t.Error(err)
		return driver.Response{Results: make([]bucket.Result, len(r.Ops))}
	}
	return responses[0]
}
