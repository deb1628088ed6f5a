package watch_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/watch"
)

var errBroken = errors.New("broken")

// far is the memory driver as a store that isn't in the process; it can break, and counts how often it is asked.
type far struct {
	driver.Driver
	broken atomic.Bool
	asked  atomic.Int64
}

func (f *far) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	f.asked.Add(1)
	if f.broken.Load() {
		return nil, errBroken
	}
	return f.Driver.Apply(ctx, batch)
}

func (f *far) Keys(ctx context.Context) iter.Seq2[string, error] {
	return f.Driver.(driver.Lister).Keys(ctx)
}

var quotas = throttle.Static(throttle.PerMinute("tokens", 6000), throttle.PerDay("requests", 1000))

// next returns the newest update after at least n looks.
func next(t *testing.T, v *watch.View, n int) (watch.Update, []string) {
	t.Helper()
	var texts []string
	var u watch.Update
	for range n {
		var ok bool
		if u, ok = v.Next(t.Context()); !ok {
			t.Fatal("the view has ended")
		}
		for _, e := range u.Events {
			texts = append(texts, e.Family+": "+e.Text)
		}
	}
	return u, texts
}

// every calls f each interval until the context ends.
func every(ctx context.Context, interval time.Duration, f func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func tokens(t *testing.T, u watch.Update, family string) watch.Quota {
	t.Helper()
	for _, f := range u.Snapshot.Families {
		for _, q := range f.Quotas {
			if f.Name == family && q.Resource == "tokens" {
				return q
			}
		}
	}
	t.Fatalf("no tokens of %s in %+v", family, u.Snapshot)
	return watch.Quota{}
}

// What a call under way has reserved is use, before it is settled; and a family is in use while that shows, full or not.
func TestUseBeforeSettlement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(memory.New(), quotas)
		defer l.Close()
		w := watch.New(watch.OfLimiter(l, watch.Filter{Models: []string{"m"}, Most: 10}), watch.Options{})
		defer w.Close()
		v := w.View()
		defer v.Close()
		next(t, v, 2)
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 50}); err != nil {
			t.Fatal(err)
		}
		u, _ := next(t, v, 3) // it has refilled by then
		if q := tokens(t, u, "m"); q.Use <= 0 || q.Level < q.Burst {
			t.Errorf("use %v, level %v of %v: want the use of a call under way, in a full bucket", q.Use, q.Level, q.Burst)
		}
		if state := u.Snapshot.Families[0].State; state != watch.Busy {
			t.Errorf("a family that is used is %s", state)
		}
	})
}

// A process sees its own use exactly, also while the bucket is full; that of others where it isn't.
func TestUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memory.New()
		here, there := throttle.New(d, quotas), throttle.New(d, quotas)
		defer here.Close()
		defer there.Close()
		w := watch.New(watch.OfLimiter(here, watch.Filter{Models: []string{"m"}, Most: 10}), watch.Options{})
		defer w.Close()
		v := w.View()
		defer v.Close()

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go every(ctx, 100*time.Millisecond, func() { // reserves twice of what it uses: 3,000 a minute
			r, err := here.Acquire(ctx, "m", throttle.Usage{"tokens": 10})
			if err == nil {
				_ = r.Settle(ctx, throttle.Usage{"tokens": 5})
			}
		})
		u, _ := next(t, v, 20)
		if q := tokens(t, u, "m"); math.Abs(q.Use-3000) > 300 || q.Level < q.Burst-5 {
			t.Errorf("use %v of 3,000 a minute, level %v: want the use though the bucket is full", q.Use, q.Level)
		}
		if state := u.Snapshot.Families[0].State; state != watch.Busy {
			t.Errorf("a family that is used is %s", state)
		}
		if f := u.Snapshot.Families[0]; math.Abs(f.Granted-10) > 1 || f.State == watch.Waiting {
			t.Errorf("granted %v a second, want 10; state %s", f.Granted, f.State)
		}
		go every(ctx, 100*time.Millisecond, func() { // 6,000 a minute more
			_, _ = there.Acquire(ctx, "m", throttle.Usage{"tokens": 10})
		})
		u, _ = next(t, v, 30)
		if q := tokens(t, u, "m"); math.Abs(q.Use-9000) > 600 || q.Level > q.Burst-1000 {
			t.Errorf("use %v, level %v: want 9,000 a minute by two processes", q.Use, q.Level)
		}
		points := w.History("m", "tokens", "1m")
		if n := len(points); n != 50 || points[n-1].Use < 1.4 || points[0].Level != 1 || points[n-1].Level > .9 {
			t.Errorf("history of %d: %+v … %+v", n, points[0], points[len(points)-1])
		}
		if w.History("m", "tokens", "1h") != nil || w.History("x", "tokens", "1m") != nil {
			t.Error("there is history of what isn't there")
		}
	})
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := throttle.New(d, quotas)
		defer l.Close()
		w := watch.New(watch.OfLimiter(l, watch.Filter{Most: 10}), watch.Options{})
		defer w.Close()
		ctx := t.Context()
		for range 3 { // before anybody looks, three refusals are one event
			_, _ = l.TryAcquire(ctx, "m", throttle.Usage{"tokens": 9000})
		}
		v := w.View()
		defer v.Close()
		expect := func(what string, looks int, want ...string) {
			t.Helper()
			_, texts := next(t, v, looks)
			if len(texts) != len(want) {
				t.Errorf("%s: events %q, want %q", what, texts, want)
				return
			}
			for i := range want {
				if !strings.Contains(texts[i], want[i]) {
					t.Errorf("%s: event %q, want %q", what, texts[i], want[i])
				}
			}
		}
		expect("refusals", 2, "m: asked for more tokens at once")
		if err := l.SetLimit(ctx, "m", throttle.PerMinute("tokens", 60)); err != nil {
			t.Fatal(err)
		}
		if err := l.Pause(ctx, "m", 3*time.Second); err != nil {
			t.Fatal(err)
		}
		expect("limit and pause", 2, "limit of tokens/min set to 60, it was 6k", "paused for")
		expect("the end of the pause", 3, "the pause is over")
		if err := l.Record(ctx, "m", throttle.Usage{"tokens": 70}); err != nil {
			t.Fatal(err)
		}
		waits, cancel := context.WithCancel(ctx)
		go func() { _, _ = l.Acquire(waits, "m", throttle.Usage{"tokens": 30}) }()
		expect("debt and a line", 5, "tokens/min is in debt", "calls wait in line: 1 place")
		cancel()
		expect("the end of both", 12, "nobody waits any more", "tokens/min has paid its debt")
		if err := l.ClearLimit(ctx, "m", "tokens", time.Minute); err != nil {
			t.Fatal(err)
		}
		expect("the limit again", 2, "limit of tokens/min is 6k again")
		d.broken.Store(true)
		expect("a broken store", 2, "the store failed: broken", "nothing can be seen")
		d.broken.Store(false)
		expect("a store again", 2, "the store answers again")
		if n := len(w.Events()); n != 12 {
			t.Errorf("%d events are kept, want all 12", n)
		}
	})
}

// Nobody looks, nothing runs: synctest finds a goroutine that is left, and the store isn't asked.
func TestNothingRunsWhenNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := throttle.New(d, quotas)
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 1}); err != nil {
			t.Fatal(err)
		}
		w := watch.New(watch.OfLimiter(l, watch.Filter{Most: 10}), watch.Options{MaxViewers: 2})
		asleep := func(what string) {
			t.Helper()
			before := d.asked.Load()
			time.Sleep(time.Minute)
			if asked := d.asked.Load() - before; asked != 0 {
				t.Errorf("%s, the store was asked %d times", what, asked)
			}
		}
		asleep("before the first view")
		a, b := w.View(), w.View()
		if w.View() != nil {
			t.Error("a third view of two")
		}
		before := d.asked.Load()
		next(t, a, 10)
		if asked := d.asked.Load() - before; asked < 10 || asked > 12 {
			t.Errorf("with two views the store was asked %d times in 10 looks: want one poller", asked)
		}
		a.Close()
		a.Close()
		next(t, b, 2)
		b.Close()
		asleep("after the last view")

		c := w.View() // and again
		if u, _ := next(t, c, 1); len(u.Snapshot.Families) != 1 {
			t.Errorf("after a pause: %+v", u.Snapshot)
		}
		ended := make(chan bool)
		go func() {
			c.Next(t.Context()) // the next look
			_, ok := c.Next(t.Context())
			ended <- ok
		}()
		time.Sleep(1500 * time.Millisecond)
		w.Close()
		w.Close()
		if <-ended {
			t.Error("a view goes on after Close")
		}
		if w.View() != nil {
			t.Error("a view after Close")
		}
		c.Close()
	})
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := throttle.New(memory.New(), quotas)
		defer l.Close()
		w := watch.New(watch.OfLimiter(l, watch.Filter{Most: 10}), watch.Options{Every: time.Hour})
		defer w.Close()
		v := w.View()
		defer v.Close()
		next(t, v, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, ok := v.Next(ctx); ok {
			t.Error("an update in a second, of one an hour")
		}
	})
}

// A store forgets a family that is full; who watches still sees it, full.
func TestStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &far{Driver: memory.New()}
		l := throttle.New(fallback.Share(d, nil), quotas) // which keeps a key that is no family
		defer l.Close()
		for i := range 4 {
			if _, err := l.Acquire(t.Context(), fmt.Sprintf("m%d", i), throttle.Usage{"tokens": 3000}); err != nil {
				t.Fatal(err)
			}
		}
		source, err := watch.OfStore(d, nil, 3)
		if err != nil {
			t.Fatal(err)
		}
		w := watch.New(source, watch.Options{})
		defer w.Close()
		v := w.View()
		defer v.Close()
		u, _ := next(t, v, 3)
		if len(u.Snapshot.Families) != 3 || u.Snapshot.Omitted != 1 || u.Snapshot.Families[0].State != watch.Busy {
			t.Errorf("families %+v, omitted %d", u.Snapshot.Families, u.Snapshot.Omitted)
		}
		if q := tokens(t, u, "m0"); q.Level < 3000 || q.Level > 3500 || q.Limit != 6000 {
			t.Errorf("tokens %+v", q)
		}
		time.Sleep(2 * time.Minute)
		u, _ = next(t, v, 2)
		if f := u.Snapshot.Families[0]; f.Quotas[0].Level != f.Quotas[0].Burst {
			t.Errorf("after it refilled: %+v", f)
		}
		d.broken.Store(true)
		if u, _ = next(t, v, 2); u.Snapshot.Failed != 3 || !strings.Contains(u.Snapshot.Error, "broken") || len(u.Snapshot.Families) != 0 {
			t.Errorf("a broken store: %+v", u.Snapshot)
		}
	})
}

// unlisted hides that a driver can list.
type unlisted struct{ driver.Driver }

func TestStoreThatCannotList(t *testing.T) {
	d := unlisted{memory.New()}
	if _, err := watch.OfStore(d, nil, 3); !errors.Is(err, watch.ErrNoLister) {
		t.Errorf("error %v", err)
	}
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 60, Per: bucket.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "m", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{90}}}}}); err != nil {
		t.Fatal(err)
	}
	source, err := watch.OfStore(d, []string{"m", "m", "never"}, 3)
	if err != nil {
		t.Fatal(err)
	}
	w := watch.New(source, watch.Options{})
	defer w.Close()
	v := w.View()
	defer v.Close()
	if u, _ := next(t, v, 1); len(u.Snapshot.Families) != 1 || u.Snapshot.Families[0].State != watch.Debt {
		t.Errorf("families %+v, want m in debt", u.Snapshot.Families)
	}
}

// Whoever waits is shown with what it wants, how long it has waited and how long it is expected to.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := memory.New()
		l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 60)))
		defer l.Close()
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 60}); err != nil {
			t.Fatal(err)
		}
		done := make(chan bool)
		for range 3 {
			go func() {
				_, _ = l.Acquire(ctx, "m", throttle.Usage{"tokens": 40}, throttle.Flow("batch", 1), throttle.Priority(2))
				done <- true
			}()
		}
		synctest.Wait()
		time.Sleep(10 * time.Second)
		w := watch.New(watch.OfLimiter(l, watch.Filter{Most: 10}), watch.Options{})
		defer w.Close()
		v := w.View()
		defer v.Close()
		u, _ := next(t, v, 1)
		f := u.Snapshot.Families[0]
		if f.State != watch.Waiting || f.Places != 1 || f.Waiting != 3 {
			t.Errorf("%+v: want one place for three calls", f)
		}
		if p := f.Line[0]; p.Flow != "batch" || p.Priority != 2 || p.Usage["tokens"] != 40 || math.Abs(p.Waited-10) > .1 || math.Abs(p.Expected-30) > .1 || !p.Ours {
			t.Errorf("place %+v", p)
		}
		cancel()
		for range 3 {
			<-done
		}
	})
}
