package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// journal is hooks that write down what they are told.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "; ")
}

type traceKey struct{}

func (j *journal) hooks() *throttle.Hooks {
	return &throttle.Hooks{
		WaitStarted: func(ctx context.Context, i throttle.WaitInfo) {
			j.add("%v waits for %v, %s binds", ctx.Value(traceKey{}), i.Usage(), i.Resource)
		},
		WaitEnded: func(ctx context.Context, i throttle.WaitInfo) {
			j.add("%v ends, %s bound, waited %v, %v", ctx.Value(traceKey{}), i.Resource, i.Waited, i.Err)
		},
		Acquired: func(ctx context.Context, i throttle.AcquiredInfo) {
			j.add("%v gets %v after %v", ctx.Value(traceKey{}), i.Usage(), i.Waited)
		},
		Refused: func(ctx context.Context, i throttle.RefusedInfo) {
			j.add("%v refused %v", ctx.Value(traceKey{}), i.Usage())
		},
		Settled: func(ctx context.Context, i throttle.SettledInfo) {
			j.add("%v used %v of %v, back %v, owes %v", ctx.Value(traceKey{}), i.Used, i.Reserved(), i.Refunded(), i.Debt())
		},
	}
}

// Each hook of a call is told what happened, once, with the call's own context.
func TestHooksTellOfACall(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var j journal
		l := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 600), throttle.PerMinute("tokens", 60)), throttle.WithHooks(j.hooks()))
		defer l.Close()
		as := func(name string) context.Context { return context.WithValue(t.Context(), traceKey{}, name) }

		r, err := l.Acquire(as("a"), "m", throttle.Usage{"requests": 1, "tokens": 60})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.TryAcquire(as("b"), "m", throttle.Usage{"tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := l.Acquire(as("c"), "m", throttle.Usage{"tokens": 30})
			done <- err
		}()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithCancel(as("d"))
		go func() {
			_, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 5})
			done <- err
		}()
		time.Sleep(time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("d: %v", err)
		}
		if err := r.Settle(as("a"), throttle.Usage{"tokens": 40}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("c: %v", err)
		}
		if err := l.Record(as("e"), "m", throttle.Usage{"tokens": 7}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"a gets requests=1 tokens=60 after 0s",
			"b refused tokens=1",
			"c waits for tokens=30, tokens binds",
			"d waits for tokens=5, tokens binds",
			"d ends, tokens bound, waited 1",
			"a used requests=1 tokens=40 of requests=1 tokens=60, back tokens=20, owes ",
			"c ends, tokens bound, waited 11",
			"c gets tokens=30 after 11",
			"e used tokens=7 of , back , owes tokens=7",
		} {
			if got := j.String(); strings.Count(got, want) != 1 {
				t.Errorf("%q is not there once in: %s", want, got)
			}
		}
	})
}

// One who listens to ends only is told of them, and of every start there is one end.
func TestWaitHooksArePaired(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var ends, starts, finishes atomic.Int64
		models := throttle.Static(throttle.PerMinute("tokens", 600))
		endsOnly := throttle.New(d, models, throttle.WithHooks(&throttle.Hooks{
			WaitEnded: func(context.Context, throttle.WaitInfo) { ends.Add(1) },
		}))
		both := throttle.New(d, models, throttle.WithHooks(&throttle.Hooks{
			WaitStarted: func(context.Context, throttle.WaitInfo) { starts.Add(1) },
			WaitEnded:   func(context.Context, throttle.WaitInfo) { finishes.Add(1) },
		}))
		defer endsOnly.Close()
		defer both.Close()
		if _, err := both.Acquire(t.Context(), "m", throttle.Usage{"tokens": 600}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range 20 {
			for _, l := range []*throttle.Limiter{endsOnly, both} {
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(3*i)*time.Second)
					defer cancel()
					_, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 10})
				})
			}
		}
		wg.Wait()
		if ends.Load() < 10 {
			t.Errorf("%d ends of about 19 waits were told of", ends.Load())
		}
		if starts.Load() != finishes.Load() || starts.Load() < 10 {
			t.Errorf("%d starts, %d ends", starts.Load(), finishes.Load())
		}
	})
}

// What is settled under other quotas than it was reserved under is told as it was reserved.
func TestSettledUnderAnotherPlan(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		var quotas atomic.Pointer[[]throttle.Quota]
		quotas.Store(&[]throttle.Quota{throttle.PerMinute("requests", 60), throttle.PerMinute("tokens", 600)})
		var j journal
		l := throttle.New(d, func(context.Context, string) (throttle.Model, error) {
			return throttle.Model{Family: "f", Quotas: *quotas.Load()}, nil
		}, throttle.WithHooks(j.hooks()))
		defer l.Close()
		r, err := l.Acquire(t.Context(), "m", throttle.Usage{"requests": 1, "tokens": 100})
		if err != nil {
			t.Fatal(err)
		}
		quotas.Store(&[]throttle.Quota{throttle.PerMinute("bananas", 5), throttle.PerMinute("tokens", 600)})
		if _, err := l.TryAcquire(t.Context(), "m", throttle.Usage{"bananas": 1}); err != nil {
			t.Fatal(err)
		}
		if err := r.Settle(t.Context(), throttle.Usage{"requests": 1, "tokens": 130}); err != nil {
			t.Fatal(err)
		}
		if want := "used requests=1 tokens=130 of requests=1 tokens=100, back , owes tokens=30"; !strings.Contains(j.String(), want) {
			t.Errorf("%q is not in: %s", want, j.String())
		}
	})
}

func TestJoinedHooks(t *testing.T) {
	var a, b journal
	loud := &throttle.Hooks{Acquired: func(context.Context, throttle.AcquiredInfo) { panic("loud") }}
	joined := throttle.JoinHooks(nil, a.hooks(), loud, b.hooks())
	if joined.StoreError != nil || joined.Acquired == nil {
		t.Errorf("joined hooks have StoreError %t (nobody listens) and Acquired %t", joined.StoreError != nil, joined.Acquired != nil)
	}
	l := throttle.New(still(), throttle.Static(throttle.PerDay("tokens", 10)), throttle.WithHooks(joined), throttle.WithHooks(nil))
	defer l.Close()
	if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
		t.Fatal(err)
	}
	if want := "<nil> gets tokens=1 after 0s"; a.String() != want || b.String() != want {
		t.Errorf("before the panicking one: %q, after it: %q", a.String(), b.String())
	}
	if one := b.hooks(); throttle.JoinHooks(nil, one) != one {
		t.Error("one alone is not itself")
	}
}

// Each of the store's troubles is a line at its level; what is below the logger's is no line.
func TestSlogHooks(t *testing.T) {
	var out strings.Builder
	hooks := throttle.SlogHooks(slog.New(slog.NewTextHandler(&out, nil)))
	hooks.StateMissing(throttle.StateMissingInfo{Family: "f"})
	hooks.ClockStepped(throttle.ClockSteppedInfo{Family: "f", Step: -time.Minute})
	hooks.StoreError(throttle.StoreErrorInfo{Families: 2, Took: time.Second, Err: errors.New("broken")})
	for _, want := range []string{
		`level=WARN msg="throttle: the store lost a family's state" family=f`, `level=WARN msg="throttle: the store's clock stepped" family=f step=-1m0s`,
		`level=ERROR msg="throttle: store error" families=2 took=1s err=broken`,
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not there once in:\n%s", want, out.String())
		}
	}
	out.Reset()
	hooks.Settled(t.Context(), throttle.SettledInfo{})
	throttle.SlogHooks(nil).Settled(t.Context(), throttle.SettledInfo{})
	if out.Len() != 0 {
		t.Errorf("at debug level: %s", out.String())
	}
}

func TestWatchEndsWhenItIsStopped(t *testing.T) {
	var always, sometimes journal
	l := throttle.New(still(), throttle.Static(throttle.PerDay("tokens", 10)), throttle.WithHooks(always.hooks()))
	defer l.Close()
	acquire := func() {
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
	}
	h := sometimes.hooks()
	acquire()
	stop, other := l.Watch(h), l.Watch(h)
	acquire()
	stop()
	stop()
	acquire()
	other()
	l.Watch(nil)()
	acquire()
	count := func(j *journal) int { return strings.Count(j.String(), "gets") }
	if count(&always) != 4 || count(&sometimes) != 3 {
		t.Errorf("told of %d and %d acquires, want 4 and 2+1", count(&always), count(&sometimes))
	}
}

func TestAmounts(t *testing.T) {
	var got throttle.Amounts
	quotas := []throttle.Quota{
		throttle.PerMinute("a", 10), throttle.PerMinute("b", 10), throttle.PerMinute("c", 10),
		throttle.PerMinute("d", 10), throttle.PerMinute("e", 10), throttle.PerDay("e", 10),
	}
	for n := 1; n <= len(quotas); n++ {
		l := throttle.New(still(), throttle.Static(quotas[:n]...), throttle.WithHooks(&throttle.Hooks{
			Acquired: func(_ context.Context, i throttle.AcquiredInfo) { got = *i.Usage() },
			Settled: func(_ context.Context, i throttle.SettledInfo) {
				amounts := i.Used
				for k, name := range amounts.Resources() {
					used := amounts.Units()[k]
					if sum := i.Reserved().Of(name) + i.Debt().Of(name) - i.Refunded().Of(name); sum != used {
						t.Errorf("%d quotas: %s: reserved + debt − refunded is %v, used %v", n, name, sum, used)
					}
				}
			},
		}))
		want := throttle.Usage{"a": 1}
		if n >= 5 {
			want["e"] = 2
		}
		r, err := l.Acquire(t.Context(), "m", want)
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got.Map(), want) || !maps.Equal(maps.Collect(got.All()), want) || got.Of("a") != 1 || got.Of("z") != 0 || len(got.Resources()) != min(n, 5) || len(got.Units()) != min(n, 5) {
			t.Errorf("%d quotas: amounts %v, want %v", n, got, want)
		}
		last := ""
		for last = range got.All() {
			if last == "a" {
				break // whoever has seen enough may go
			}
		}
		if last != "a" {
			t.Errorf("%d quotas: All went on to %q", n, last)
		}
		kept := got.String()
		actual := throttle.Usage{"a": 3}
		if n >= 5 {
			actual["e"] = 0
		}
		if err := r.Settle(t.Context(), actual); err != nil {
			t.Fatal(err)
		}
		if got.String() != kept {
			t.Errorf("%d quotas: the amounts changed after the call from %s to %s", n, kept, got)
		}
		l.Close()
	}
	if zero := (throttle.Amounts{}); len(zero.Resources()) != 0 || len(zero.Units()) != 0 || zero.String() != "" || zero.Of("a") != 0 || len(zero.Map()) != 0 {
		t.Error("the zero Amounts isn't empty")
	}
}

func TestFamilies(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, func(_ context.Context, model string) (throttle.Model, error) {
			family, _, _ := strings.Cut(model, "-")
			return throttle.Model{Family: family, Quotas: []throttle.Quota{throttle.PerDay("tokens", 100)}}, nil
		})
		defer l.Close()
		for _, model := range []string{"b-1", "a-1", "b-2"} {
			if _, err := l.Acquire(t.Context(), model, throttle.Usage{"tokens": 10}); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.Families(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("families %q", got)
		}
		s, err := l.FamilyStatus(t.Context(), "b")
		if err != nil || s.Family != "b" || s.Buckets[0].Level < 80 || s.Buckets[0].Level > 80.1 {
			t.Errorf("status of b: %+v, %v", s, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.FamilyStatus(ended, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("with an ended context: %v", err)
		}
		l.Close()
		if _, err := l.FamilyStatus(t.Context(), "b"); !errors.Is(err, throttle.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// The line says for each place in how long it is expected to be served.
func TestStatusExpects(t *testing.T) {
	onStores(t, func(t *testing.T, d driver.Driver) {
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, flow := range []string{"x", "y"} {
			wg.Go(func() { _, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 20}, throttle.Flow(flow, 1)) })
		}
		synctest.Wait()
		time.Sleep(5 * time.Second)
		s, err := l.Status(t.Context(), "m")
		if err != nil || len(s.Line) != 2 {
			t.Fatalf("line %+v, %v", s.Line, err)
		}
		for i, want := range []time.Duration{15 * time.Second, 35 * time.Second} {
			if got := s.Line[i].Expected; got < want-100*time.Millisecond || got > want+100*time.Millisecond {
				t.Errorf("place %d is expected in %v, want %v", i+1, got, want)
			}
			if p := s.Line[i]; p.Resource != "tokens" || p.Per != time.Minute {
				t.Errorf("place %d waits for %q per %v", i+1, p.Resource, p.Per)
			}
		}
		cancel()
		wg.Wait()
	})
}
