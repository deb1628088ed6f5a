package fallback_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
)

var choices = []struct {
	name string
	wrap func(driver.Driver, *fallback.Options) driver.Driver
}{{"Share", fallback.Share}, {"Open", fallback.Open}}

// While the store is up, both are the store.
func TestConformance(t *testing.T) {
	for _, c := range choices {
		t.Run(c.name, func(t *testing.T) {
			conformance.Run(t, func(testing.TB) driver.Driver { return c.wrap(memory.New(), nil) }, nil)
		})
	}
}

// What was acknowledged in an outage for everybody who uses the key holds in the store before anything is granted there.
func TestControlsReachTheStore(t *testing.T) {
	type control func(ctx context.Context, l *throttle.Limiter) error
	set := func(q throttle.Quota) control {
		return func(ctx context.Context, l *throttle.Limiter) error { return l.SetLimit(ctx, "m", q) }
	}
	pause := func(d time.Duration) control {
		return func(ctx context.Context, l *throttle.Limiter) error { return l.Pause(ctx, "m", d) }
	}
	observe := func(limit float64) control {
		return func(ctx context.Context, l *throttle.Limiter) error {
			return l.Observe(ctx, "m", throttle.Observation{Resource: "tokens", Remaining: math.NaN(), Limit: limit})
		}
	}
	clear := func(ctx context.Context, l *throttle.Limiter) error {
		return l.ClearLimit(ctx, "m", "tokens", time.Minute)
	}
	minute := throttle.PerMinute
	for _, c := range []struct {
		name           string
		before, during []control
		paused         time.Duration // from the outage's begin
		limit, burst   float64
	}{
		{"a pause", nil, []control{pause(time.Hour)}, time.Hour, 800, 800},
		{"a longer pause", nil, []control{pause(time.Minute), pause(time.Hour), pause(time.Minute)}, time.Hour, 800, 800},
		{"a pause that is over", nil, []control{pause(time.Second)}, 0, 800, 800},
		{"a pause that is ended", nil, []control{pause(time.Hour), pause(0)}, 0, 800, 800},
		{"the end of a pause from before", []control{pause(time.Hour)}, []control{pause(0)}, 0, 800, 800},
		{"a shorter pause than one from before", []control{pause(time.Hour)}, []control{pause(time.Minute)}, time.Hour, 800, 800},
		{"another pause than one from before", []control{pause(time.Hour)}, []control{pause(0), pause(time.Minute)}, time.Minute, 800, 800},
		{"a limit", nil, []control{set(minute("tokens", 10))}, 0, 10, 10},
		{"the last of two limits", nil, []control{set(minute("tokens", 10)), set(minute("tokens", 70).WithBurst(7))}, 0, 70, 7},
		{"a limit that is cleared", nil, []control{set(minute("tokens", 10)), clear}, 0, 800, 800},
		{"the end of a limit from before", []control{set(minute("tokens", 10))}, []control{clear}, 0, 800, 800},
		{"an observed limit", nil, []control{observe(1000)}, 0, 1000, 1000},
		{"our own limit, observed", []control{set(minute("tokens", 10))}, []control{observe(800)}, 0, 800, 800},
		{"a limit that was just set, observed", nil, []control{set(minute("tokens", 70).WithBurst(7)), observe(70)}, 0, 70, 7},
		{"a limit, and a pause", nil, []control{set(minute("tokens", 7)), pause(time.Hour)}, time.Hour, 7, 7},
	} {
		for _, choice := range choices {
			synctest.Test(t, func(t *testing.T) {
				s := &store{Driver: memory.New()}
				d := choice.wrap(s, &fallback.Options{Processes: 8})
				defer d.Close()
				models := throttle.Static(minute("tokens", 800))
				l, other := throttle.New(d, models), throttle.New(s, models)
				defer l.Close()
				defer other.Close()
				do := func(controls []control) {
					for _, do := range controls {
						if err := do(t.Context(), l); err != nil {
							t.Fatal(err)
						}
					}
				}
				do(c.before)
				s.down.Store(true)
				begin := time.Now()
				do(c.during)
				time.Sleep(20 * time.Second)
				s.down.Store(false)
				time.Sleep(2 * time.Second)
				status, err := other.Status(t.Context(), "m")
				if err != nil {
					t.Fatal(err)
				}
				paused := time.Duration(0)
				if !status.Paused.IsZero() {
					paused = status.Paused.Sub(begin)
				}
				if d := paused - c.paused; d < -time.Millisecond || d > time.Millisecond {
					t.Errorf("%s, %s: paused for %v, want %v", choice.name, c.name, paused, c.paused)
				}
				limit, burst := 800.0, 800.0
				if len(status.Buckets) > 0 {
					limit, burst = status.Buckets[0].Limit, status.Buckets[0].Burst
				}
				if limit != c.limit || burst != c.burst {
					t.Errorf("%s, %s: limit %v, burst %v, want %v, %v", choice.name, c.name, limit, burst, c.limit, c.burst)
				}
			})
		}
	}
}

// A pause is told first: whoever waits for the store finds it there.
func TestNothingIsGrantedBeforeTheStoreIsTold(t *testing.T) {
	for _, choice := range choices {
		synctest.Test(t, func(t *testing.T) {
			s := &store{Driver: memory.New()}
			d := choice.wrap(s, nil)
			defer d.Close()
			l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 800)))
			defer l.Close()
			s.down.Store(true)
			if err := l.Pause(t.Context(), "m", time.Hour); err != nil {
				t.Fatal(err)
			}
			s.down.Store(false)
			other := throttle.New(s, throttle.Static(throttle.PerMinute("tokens", 800)))
			defer other.Close()
			for before := 800.0; ; time.Sleep(10 * time.Millisecond) {
				_, _ = l.TryAcquire(t.Context(), "m", tokens(1))
				status, err := other.Status(t.Context(), "m")
				if err != nil {
					t.Fatal(err)
				}
				if len(status.Buckets) > 0 && status.Buckets[0].Level < before {
					t.Errorf("%s: granted by a store that has not heard of the pause", choice.name)
					break
				}
				if !status.Paused.IsZero() {
					time.Sleep(time.Second)
					if _, err = l.TryAcquire(t.Context(), "m", tokens(1)); !errors.Is(err, throttle.ErrNoCapacity) {
						t.Errorf("%s: after the outage: %v", choice.name, err)
					}
					break
				}
			}
		})
	}
}

// If the answer to what the store is told is lost, nothing is minted, and no debt is forgotten.
func TestLostAnswersToWhatIsTold(t *testing.T) {
	for _, c := range []struct {
		name        string
		lose        string // the key whose answers are lost; "": all
		settle      float64
		least, most float64 // level in the end, of 1,000 a day that were all held
	}{
		{"credit, all lost", "", 0, 0, 400},
		{"credit, that one lost", "m", 0, 0, 400},
		{"debt, all lost", "", 500, -200, -99},
		{"debt, that one lost", "m", 500, -1000, -99},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &store{Driver: memory.New()}
			models := throttle.Static(throttle.PerDay("tokens", 1000))
			d := fallback.Share(s, &fallback.Options{Processes: 1})
			defer d.Close()
			l, other := throttle.New(d, models), throttle.New(s.Driver, models)
			defer l.Close()
			defer other.Close()
			r, err := l.Acquire(t.Context(), "m", tokens(400))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.Acquire(t.Context(), "m", tokens(600)); err != nil {
				t.Fatal(err)
			}
			s.down.Store(true)
			if err := r.Settle(t.Context(), tokens(c.settle)); err != nil {
				t.Fatal(err)
			}
			s.lose.Store(&c.lose)
			s.down.Store(false)
			for range 11 {
				time.Sleep(500 * time.Millisecond)
				_, _ = l.TryAcquire(t.Context(), "m", tokens(0))
			}
			s.lose.Store(nil)
			time.Sleep(2 * time.Second)
			if got := level(t, other); got < c.least-0.1 || got > c.most+0.1 {
				t.Errorf("%s: level %v, want %v to %v", c.name, got, c.least, c.most)
			}
		})
	}
}

// A store that takes a part of what it is told and refuses the rest is told of the rest again, and of nothing twice.
func TestStoreThatRefusesWhatItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		d := fallback.Share(s, &fallback.Options{Processes: 1})
		defer d.Close()
		l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 1000)))
		defer l.Close()
		var held []*throttle.Reservation
		for range 2 {
			r, err := l.TryAcquire(t.Context(), "m", tokens(300))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, r)
		}
		key := "m"
		s.down.Store(true)
		if err := held[0].Settle(t.Context(), tokens(100)); err != nil { // 200 back
			t.Fatal(err)
		}
		if err := l.Pause(t.Context(), "m", time.Hour); err != nil {
			t.Fatal(err)
		}
		s.fail.Store(&key)
		s.down.Store(false)
		for range 5 {
			time.Sleep(time.Second)
			if err := l.Record(t.Context(), "m", tokens(10)); err != nil { // and 50 used
				t.Fatal(err)
			}
		}
		if err := l.Pause(t.Context(), "m", 0); err != nil {
			t.Fatal(err)
		}
		s.fail.Store(nil)
		time.Sleep(2 * time.Second)
		if got, want := level(t, l), 1000.0-600+200-50; math.Abs(got-want) > 1 {
			t.Errorf("level %v, want %v", got, want)
		}
		if status, err := l.Status(t.Context(), "m"); err != nil || !status.Paused.IsZero() {
			t.Errorf("paused until %v, %v, which was ended", status.Paused, err)
		}
	})
}

// A store that hangs is waited for once; then calls go on beside the attempts, and Close ends one that is under way.
func TestHangingStore(t *testing.T) {
	for _, choice := range choices {
		for _, hangs := range []string{"all", "the family alone"} {
			synctest.Test(t, func(t *testing.T) {
				s := &store{Driver: memory.New()}
				d := choice.wrap(s, &fallback.Options{Processes: 1})
				l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 1e6)))
				defer l.Close()
				if _, err := l.TryAcquire(t.Context(), "m", tokens(1)); err != nil {
					t.Fatal(err)
				}
				if hangs == "all" {
					s.hangs.Store(true)
				} else {
					s.Driver = &stuck{s.Driver}
				}
				var waited time.Duration
				for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(10 * time.Millisecond) {
					call := time.Now()
					_, err := l.TryAcquire(t.Context(), "m", tokens(1))
					if err != nil && !errors.Is(err, throttle.ErrNoCapacity) {
						t.Fatal(err)
					}
					waited += time.Since(call)
				}
				if waited > 2*time.Second {
					t.Errorf("%s, %s: calls stood still for %v of a minute, want 2 s, the first one's patience", choice.name, hangs, waited)
				}
				time.Sleep(1500 * time.Millisecond)
				begin := time.Now()
				if err := d.Close(); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("%s, %s: Close took %v", choice.name, hangs, took)
				}
				if _, err := l.TryAcquire(t.Context(), "m", tokens(1)); !errors.Is(err, driver.ErrClosed) {
					t.Errorf("%s, %s: after Close: %v", choice.name, hangs, err)
				}
			}) // which fails if a goroutine is left
		}
	}
}

// stuck hangs with one family.
type stuck struct{ driver.Driver }

func (s *stuck) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	for i := range batch {
		if batch[i].Key == "m" {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}
	return s.Driver.Apply(ctx, batch)
}

// slow takes its time with one family.
type slow struct{ driver.Driver }

func (s *slow) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if batch[0].Key == "m" {
		time.Sleep(time.Second)
	}
	return s.Driver.Apply(ctx, batch)
}

// What is used while the store is told is told as well, before the outage ends; who comes then waits, but not beyond its ctx.
func TestUseWhileTheStoreIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: &slow{memory.New()}}
		d := fallback.Share(s, &fallback.Options{Processes: 1})
		defer d.Close()
		day := quota(t, "tokens", 1000, bucket.Day)
		record := []driver.Request{{Key: "m", Limits: day, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{10}}}}}
		use := func(ctx context.Context) error { _, err := d.Apply(ctx, record); return err }
		s.down.Store(true)
		for range 2 {
			if err := use(t.Context()); err != nil { // 20 to be told after 1 s, which takes until 2 s
				t.Fatal(err)
			}
		}
		s.down.Store(false)
		time.Sleep(1500 * time.Millisecond)
		begin := time.Now()
		if err := use(t.Context()); err != nil || time.Since(begin) > 0 { // 10 more, told from 2 s to 3 s
			t.Fatalf("while the store is told: %v after %v", err, time.Since(begin))
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := use(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 1200*time.Millisecond {
			t.Errorf("while the store is told the last: %v after %v", err, time.Since(begin))
		}
		if err := use(t.Context()); err != nil { // 10 more, in the store
			t.Fatal(err)
		}
		res := apply(t, d, driver.Request{Key: "m", Limits: day, Ops: []bucket.Op{{Kind: bucket.Peek}}})
		if got := res.Results[0].State.Buckets[0].Level; math.Abs(got-960) > 1 {
			t.Errorf("level %v, want 960", got)
		}
	})
}

// More keys than are told at once are told all the same.
func TestManyKeysAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		d := fallback.Share(s, nil)
		defer d.Close()
		day := quota(t, "tokens", 1000, bucket.Day)
		s.down.Store(true)
		batch := make([]driver.Request, 1000)
		for i := range batch {
			batch[i] = driver.Request{Key: string(rune('a' + i)), Limits: day, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{100}}}}
		}
		if _, err := d.Apply(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		s.down.Store(false)
		time.Sleep(2 * time.Second)
		for i := range batch {
			batch[i].Ops = []bucket.Op{{Kind: bucket.Peek}}
		}
		responses, err := s.Apply(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i := range responses {
			if got := responses[i].Results[0].State.Buckets[0].Level; math.Abs(got-900) > 1 {
				t.Fatalf("level %v of key %d, want 900", got, i)
			}
		}
	})
}

// The leases of all run out in an outage, and whoever is back first must not take itself for the only one.
func TestProcessesAreRememberedThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Driver: memory.New()}
		var limiters []*throttle.Limiter
		for range 4 {
			d := fallback.Share(s, nil)
			defer d.Close()
			l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 6000)))
			defer l.Close()
			limiters = append(limiters, l)
		}
		use := func() (granted int) {
			for _, l := range limiters {
				for {
					if _, err := l.TryAcquire(t.Context(), "m", tokens(10)); err != nil {
						break
					}
					granted += 10
				}
			}
			return granted
		}
		for range 30 {
			use()
			time.Sleep(time.Second)
		}
		s.down.Store(true)
		for range 300 {
			use()
			time.Sleep(time.Second)
		}
		s.down.Store(false)
		time.Sleep(1100 * time.Millisecond) // all are back, and have not called since
		s.down.Store(true)
		granted := 0
		for range 300 {
			granted += use()
			time.Sleep(100 * time.Millisecond)
		}
		if granted > 3000 || granted < 2500 {
			t.Errorf("%d tokens granted in half a minute of a second outage, want up to 3000", granted)
		}
	})
}

// What is not valid isn't in an outage either, and a driver that is closed is closed.
func TestWhatAnOutageRefuses(t *testing.T) {
	one := quota(t, "r", 1, bucket.Second)
	for _, choice := range choices {
		s := &store{Driver: memory.New()}
		s.down.Store(true)
		d := choice.wrap(s, nil)
		for _, c := range []struct {
			name string
			r    driver.Request
		}{
			{"more costs than resources", driver.Request{Limits: one, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{1, 2}}}}},
			{"costs without limits", driver.Request{Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1}}}}},
			{"a quota that isn't there", driver.Request{Limits: one, Ops: []bucket.Op{{Kind: bucket.SetLimit, Quota: 1, Limit: 1}}}},
			{"a limit without limits", driver.Request{Ops: []bucket.Op{{Kind: bucket.ClearLimit}}}},
			{"NaN", driver.Request{Limits: one, Ops: []bucket.Op{{Kind: bucket.Adjust, Cost: []float64{math.NaN()}}}}},
			{"no kind", driver.Request{Limits: one, Ops: []bucket.Op{{}}}},
		} {
			c.r.Key = "k"
			if res := apply(t, d, c.r); res.Results[0].Status != bucket.Invalid {
				t.Errorf("%s, %s: %v, want invalid", choice.name, c.name, res.Results[0].Status)
			}
		}
		// Without limits there is nothing to wait for but a pause, which Open doesn't.
		res := apply(t, d, driver.Request{Key: "k", Ops: []bucket.Op{
			{Kind: bucket.Acquire}, {Kind: bucket.Block, Span: bucket.Hour}, {Kind: bucket.Acquire}}})
		want := []bucket.Status{bucket.Granted, bucket.Done, bucket.Refused}
		if choice.name == "Open" {
			want[2] = bucket.Granted
		}
		for i := range want {
			if got := res.Results[i].Status; got != want[i] {
				t.Errorf("%s: operation %d without limits is %v, want %v", choice.name, i, got, want[i])
			}
		}
		for range 2 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		r := driver.Request{Key: "k", Limits: one, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1}}}}
		if _, err := d.Apply(t.Context(), []driver.Request{r}); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("%s: after Close: %v, want driver.ErrClosed", choice.name, err)
		}
	}
}
