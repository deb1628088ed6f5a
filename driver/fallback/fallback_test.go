package fallback_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/presence"
)

// store is shared by processes, and can be down, or hang.
type store struct {
	driver.Driver
	down, hangs atomic.Bool
	lose        atomic.Pointer[string] // the answers to batches about this key, "" for any, are lost after the work is done
	fail        atomic.Pointer[string] // batches about this key are refused
}

var errDown = errors.New("store is down")

func (s *store) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	about := func(key *string) bool {
		return key != nil && slices.ContainsFunc(batch, func(r driver.Request) bool { return *key == "" || r.Key == *key })
	}
	if s.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.down.Load() || about(s.fail.Load()) {
		return nil, errDown
	}
	responses, err := s.Driver.Apply(ctx, batch)
	if about(s.lose.Load()) {
		return nil, driver.ErrUnknownOutcome
	}
	return responses, err
}

func (s *store) Close() error { return nil }

func level(t *testing.T, l *throttle.Limiter) float64 {
	t.Helper()
	s, err := l.Status(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	return s.Buckets[0].Level
}

func TestShareKeepsEachProcessToItsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		const processes = 4
		var limiters []*throttle.Limiter
		for range processes {
			d := fallback.Share(shared, nil)
			l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 6000)))
			defer l.Close()
			limiters = append(limiters, l)
		}
		use := func(l *throttle.Limiter) error {
			_, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 100})
			return err
		}
		for range 3 { // two rounds of signs of life, so that all have seen all
			for _, l := range limiters {
				if err := use(l); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(11 * time.Second)
		}

		shared.down.Store(true)
		begin := time.Now()
		granted := 0
		for time.Since(begin) < 30*time.Second {
			for _, l := range limiters {
				for use(l) == nil {
					granted++
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		// 6000 a minute are 3000 in half a minute, whoever they go to; local buckets start empty.
		if total := granted * 100; total > 3000 || total < 2500 {
			t.Errorf("%d tokens granted in half a minute of outage, want up to 3000", total)
		}

		shared.down.Store(false)
		time.Sleep(2 * time.Second)
		for _, l := range limiters {
			if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
		}
		// It was told within a second, and 100 tokens a second refilled since.
		if got, want := level(t, limiters[0]), 6000-float64(granted*100)-4; got < want-10 || got > want+210 {
			t.Errorf("level %v after the outage, want %v and the refill of two seconds: what was used in it was not told", got, want)
		}
	})
}

// The processes of a fleet start together, the first sees itself alone, and a store that was just redeployed is the
// likeliest to go down: a few seconds later each must know of all.
func TestShareOfAFleetThatHasJustStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		var limiters []*throttle.Limiter
		for range 8 {
			l := throttle.New(fallback.Share(shared, nil), throttle.Static(throttle.PerMinute("tokens", 6000)))
			defer l.Close()
			limiters = append(limiters, l)
		}
		granted := 0
		use := func() {
			for _, l := range limiters {
				for {
					if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 10}); err != nil {
						break
					}
					granted += 10
				}
			}
		}
		for range 50 { // 5 s
			use()
			time.Sleep(100 * time.Millisecond)
		}
		shared.down.Store(true)
		granted = 0
		for range 300 { // 30 s
			use()
			time.Sleep(100 * time.Millisecond)
		}
		if granted > 3000 || granted < 2500 {
			t.Errorf("%d tokens granted in half a minute of outage, want up to 3000", granted)
		}
	})
}

func TestLongOutageLeavesNoDebtBeyondTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		l := throttle.New(fallback.Share(shared, &fallback.Options{Processes: 1}), throttle.Static(throttle.PerMinute("tokens", 6000)))
		defer l.Close()
		shared.down.Store(true)
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			_, _ = l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 100})
			time.Sleep(time.Second)
		}
		shared.down.Store(false)
		time.Sleep(2 * time.Second)
		if got := level(t, l); got < -100 || got > 500 {
			t.Errorf("level %v after an hour at saturation, want about 0", got)
		}
	})
}

func TestOpenGrantsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		changes := make(chan error, 3)
		l := throttle.New(fallback.Open(shared, &fallback.Options{OnChange: func(err error) { changes <- err }}),
			throttle.Static(throttle.PerMinute("tokens", 100)))
		defer l.Close()
		shared.down.Store(true)
		for range 50 {
			r, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 100})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Settle(t.Context(), throttle.Usage{"tokens": 1}); err != nil {
				t.Fatal(err)
			}
		}
		if s, err := l.Status(t.Context(), "m"); err != nil || len(s.Buckets) != 0 {
			t.Errorf("status of a store that is down: %+v, %v, want no buckets", s, err)
		}
		var large *throttle.TooLargeError
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 101}); !errors.As(err, &large) {
			t.Errorf("what can never be granted: %v", err)
		}
		shared.down.Store(false)
		time.Sleep(2 * time.Second)
		if got := level(t, l); got != 100 {
			t.Errorf("level %v", got)
		}
		if down, up := <-changes, <-changes; !errors.Is(down, errDown) || up != nil || len(changes) != 0 {
			t.Errorf("told of %v and %v, and of %d more", down, up, len(changes))
		}
	})
}

func TestUnknownOutcomeIsNotDoneTwice(t *testing.T) {
	d := fallback.Share(unknown{memory.New()}, nil)
	defer d.Close()
	l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 100)))
	defer l.Close()
	if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1}); !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Error(err)
	}
}

type unknown struct{ *memory.Driver }

func (unknown) Apply(context.Context, []driver.Request) ([]driver.Response, error) {
	return nil, driver.ErrUnknownOutcome
}

// What is given back in an outage, of reservations from before it, is the store's: it is told, like what is used.
func TestCreditsOfAnOutageReachTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		l := throttle.New(fallback.Share(shared, &fallback.Options{Processes: 4}), throttle.Static(throttle.PerDay("tokens", 6000)))
		defer l.Close()
		var held []*throttle.Reservation
		for range 3 {
			r, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 1000})
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, r)
		}
		shared.down.Store(true)
		for _, r := range held[:2] {
			if err := r.Settle(t.Context(), throttle.Usage{"tokens": 100}); err != nil {
				t.Fatal(err)
			}
		}
		// 1,800 came back to the local share, which holds 1,500 at most; of these some are used at once.
		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 500}); err != nil {
			t.Fatal(err)
		}
		shared.down.Store(false)
		time.Sleep(2 * time.Second)
		if err := held[2].Settle(t.Context(), throttle.Usage{"tokens": 100}); err != nil {
			t.Fatal(err)
		}
		if got, want := level(t, l), 6000.0-100-100-100-500; math.Abs(got-want) > 1 {
			t.Errorf("level %v after the outage, want %v", got, want)
		}
	})
}

// Models may be named by anybody: none must stand in for a process, and so make everybody's share smaller.
func TestNoModelCountsAsAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := &store{Driver: memory.New()}
		l := throttle.New(fallback.Share(shared, nil), throttle.Static(throttle.PerMinute("processes", 60)))
		defer l.Close()
		for _, name := range []string{presence.Key, "\x00processes"} {
			if err := l.Record(t.Context(), name, throttle.Usage{"processes": 60}); err != nil {
				t.Fatal(err)
			}
			if s, err := l.Status(t.Context(), name); err != nil || s.Family == presence.Key || len(s.Line) > 0 || !s.Paused.IsZero() {
				t.Errorf("model %q: %+v, %v", name, s, err)
			}
		}
	})
}

// What the store needn't be down for is its answer, and no outage: nothing asked, a ctx that has ended, a closed store.
func TestWhatIsNoOutage(t *testing.T) {
	d := fallback.Share(memory.New(), &fallback.Options{OnChange: func(err error) { t.Errorf("told of an outage: %v", err) }})
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 10, Per: bucket.Day})
	if err != nil {
		t.Fatal(err)
	}
	one := []driver.Request{{Key: "k", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{1}}}}}
	if responses, err := d.Apply(t.Context(), nil); err != nil || len(responses) != 0 {
		t.Errorf("an empty batch: %v, %v", responses, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Apply(ended, one); err != context.Canceled {
		t.Errorf("a ctx that has ended: %v", err)
	}
	if _, err := d.Apply(t.Context(), one); err != nil {
		t.Error(err)
	}
	keys := 0 // and no other: what the processes are counted by is no family
	for key, err := range d.(driver.Lister).Keys(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		if key != "k" {
			t.Errorf("lists %q", key)
		}
		keys++
	}
	if keys != 1 {
		t.Errorf("%d keys are listed, want the one that was used", keys)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), one); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("a closed store: %v", err)
	}
	for key, err := range fallback.Share(&store{Driver: memory.New()}, nil).(driver.Lister).Keys(t.Context()) {
		if err == nil {
			t.Errorf("a store that lists no keys lists %q", key)
		}
	}
}
