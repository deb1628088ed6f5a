package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// A connection is cut at each boundary between two messages of an Apply, in both directions: the batch is applied, once.
func TestCutAtEveryMessage(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{})
	p := newProxy(t, hostOf(t, url))
	d := tab.open(p.through)
	l := still(1000)
	// Two keys that are there, and one that is new each time: both kinds of write.
	batch := func(i int) []driver.Request {
		return []driver.Request{
			{Key: "debit", Limits: l, Ops: ops(record(1))},
			{Key: "credit", Limits: l, Ops: ops(adjust(1))},
			{Key: fmt.Sprint("new-", i), Limits: l, Ops: ops(record(1))},
		}
	}
	apply := func(i int) error {
		_, err := d.Apply(t.Context(), batch(i))
		return err
	}
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "credit", Limits: l, Ops: ops(record(500))}}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the first prepares statements
		if err := apply(-1 - i); err != nil {
			t.Fatal(err)
		}
	}
	var seen atomic.Int64
	p.set(func(message) action { seen.Add(1); return pass })
	if err := apply(-3); err != nil {
		t.Fatal(err)
	}
	total := int(seen.Load())
	if total < 20 {
		t.Fatalf("an Apply has %d messages: the proxy doesn't understand them", total)
	}
	done := 3
	for k := 1; k <= total; k++ {
		seen.Store(0)
		p.set(func(message) action {
			if seen.Add(1) == int64(k) {
				return cut
			}
			return pass
		})
		start := time.Now()
		err := apply(k)
		took := time.Since(start)
		p.set(nil)
		if err != nil {
			t.Errorf("cut at message %d of %d: %v", k, total, err)
			continue
		}
		done++
		if took > 3*time.Second {
			t.Errorf("cut at message %d of %d: it took %v", k, total, took)
		}
		if err := apply(k + 100_000); err != nil { // on a connection that is ready again
			t.Fatal(err)
		}
		done++
		if level := levelOf(t, d, fmt.Sprint("new-", k), l); level < 999 || level > 999.01 {
			t.Errorf("cut at message %d of %d: the new key has a level of %v, want 999", k, total, level)
		}
		if level, want := levelOf(t, d, "debit", l), 1000-float64(done); level < want || level > want+0.01 {
			t.Fatalf("cut at message %d of %d: after %d debits the level is %v, want %v", k, total, done, level, want)
		}
		if level, want := levelOf(t, d, "credit", l), 500+float64(done); level < want || level > want+0.01 {
			t.Fatalf("cut at message %d of %d: after %d credits the level is %v, want %v", k, total, done, level, want)
		}
	}
	s := d.Stats()
	t.Logf("cut at %d messages: %+v", total, s)
	if s.Lost == 0 || s.Broken == 0 {
		t.Error("no answer was lost, or no connection broke: the proxy cut nothing")
	}
}

// faultsOf are the ways in which a connection breaks, for the conformance suite; of finds a driver's table and proxy.
func faultsOf(of func(driver.Driver) (*table, *proxy)) []conformance.Fault {
	withProxy := func(verdict func() func(message) action) func(testing.TB, driver.Driver) func() {
		return func(_ testing.TB, d driver.Driver) func() {
			_, p := of(d)
			p.set(verdict())
			return func() {
				p.set(nil)
				p.cutAll()
			}
		}
	}
	every := func(n int64, what action, which func(message) bool) func() func(message) action {
		return func() func(message) action {
			var count atomic.Int64
			return func(m message) action {
				if which(m) && count.Add(1)%n == 0 {
					return what
				}
				return pass
			}
		}
	}
	sync := func(m message) bool { return !m.fromServer && m.kind == 'S' }
	return []conformance.Fault{
		{Name: "every COMMIT's answer is lost", Inject: withProxy(every(1, cut, message.committed))},
		{Name: "every second COMMIT's answer is lost", Inject: withProxy(every(2, cut, message.committed))},
		{Name: "every third COMMIT's answer never comes", Inject: withProxy(every(3, hold, message.committed))},
		{Name: "every third request is lost", Inject: withProxy(every(3, cut, sync))},
		{Name: "every third request never arrives", Inject: withProxy(every(3, hold, sync))},
		{Name: "nothing arrives", Inject: withProxy(every(1, hold, func(message) bool { return true }))},
		{Name: "nobody listens", Inject: withProxy(every(1, cut, func(message) bool { return true }))},
		{Name: "every server process is terminated", Inject: terminateAll(of)},
	}
}

// terminateAll terminates the driver's server processes again and again.
func terminateAll(of func(driver.Driver) (*table, *proxy)) func(testing.TB, driver.Driver) func() {
	return func(tb testing.TB, d driver.Driver) func() {
		tab, _ := of(d)
		c := tab.connect()
		ctx, cancel := context.WithCancel(context.Background())
		var all sync.WaitGroup
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Exec(context.Background(), "SELECT pg_terminate_backend(pid), pg_sleep(0.002) FROM pg_stat_activity WHERE application_name = $1", tab.schema); err != nil {
					tb.Error(err)
					return
				}
			}
		})
		return func() {
			cancel()
			all.Wait()
		}
	}
}

// A server that hangs, and one that is gone, end an Apply with a typed error within the driver's timeout.
func TestBounded(t *testing.T) {
	url := testservice.Postgres(t)
	for _, c := range []struct {
		name    string
		verdict func(message) action
		unknown bool
	}{
		{"nothing arrives", func(message) action { return hold }, false},
		{"nobody listens", func(message) action { return cut }, false},
		{"one COMMIT is never answered", once(hold, message.committed), false},
		{"nothing arrives once COMMIT was sent", holdAfterCommit(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tab := newTableAt(t, url, postgres.Options{Timeout: 2500 * time.Millisecond})
			p := newProxy(t, hostOf(t, url))
			d := tab.open(p.through)
			request := []driver.Request{{Key: "k", Limits: still(1000), Ops: ops(record(1))}}
			if _, err := d.Apply(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			p.set(c.verdict)
			start := time.Now()
			_, err := d.Apply(context.Background(), request)
			took := time.Since(start)
			p.set(nil)
			p.cutAll()
			if took > 4*time.Second {
				t.Errorf("it took %v, want the timeout of 2.5 s and little more", took)
			}
			var store *driver.StoreError
			switch {
			case c.name == "one COMMIT is never answered":
				if err != nil {
					t.Errorf("error %v, want none: another connection can tell", err)
				}
			case errors.Is(err, driver.ErrUnknownOutcome) != c.unknown || !errors.As(err, &store):
				t.Errorf("error %v, want a *driver.StoreError, of unknown outcome: %v", err, c.unknown)
			case store.Remedy == "":
				t.Errorf("error %v has no remedy", err)
			}
		})
	}
}

// once does what to the first message that which picks.
func once(what action, which func(message) bool) func(message) action {
	var done atomic.Bool
	return func(m message) action {
		if which(m) && !done.Swap(true) {
			return what
		}
		return pass
	}
}

// holdAfterCommit lets one COMMIT through and nothing after it.
func holdAfterCommit() func(message) action {
	var over atomic.Bool
	return func(m message) action {
		if m.committed() {
			over.Store(true)
		}
		if over.Load() {
			return hold
		}
		return pass
	}
}

// Where another transaction is always first, an Apply ends in time, says why, and has done nothing.
func TestConflictStorm(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{Timeout: 500 * time.Millisecond})
	p := newProxy(t, hostOf(t, url))
	d, other := tab.open(p.through), tab.open(nil)
	for _, x := range []driver.Driver{d, other} {
		if err := apply(x); err != nil {
			t.Fatal(err)
		}
	}
	var answered atomic.Bool
	var storm sync.Mutex
	others := 0
	p.set(func(m message) action {
		switch {
		case m.fromServer && m.kind == 'Z':
			answered.Store(true)
		case !m.fromServer && answered.Swap(false):
			storm.Lock()
			defer storm.Unlock()
			if err := apply(other); err != nil {
				t.Error(err)
			}
			others++
		}
		return pass
	})
	start := time.Now()
	err := apply(d)
	took := time.Since(start)
	p.set(nil)
	storm.Lock() // one of the others may still be at it
	defer storm.Unlock()
	wantStoreError(t, err, "40001", "fewer programs")
	var lost *postgres.ContentionError
	if !errors.As(err, &lost) || lost.Attempts < 3 {
		t.Errorf("error %v, want a *postgres.ContentionError after several attempts", err)
	}
	if took > 1500*time.Millisecond {
		t.Errorf("it took %v, want the timeout of 500 ms and little more", took)
	}
	want := 1000 - 2 - float64(others)
	if level := levelOf(t, other, "k", still(1000)); level < want || level > want+0.01 {
		t.Errorf("the level is %v, want %v", level, want)
	}
}

// Two processes that have read the same state can't both write.
func TestConflict(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{})
	p := newProxy(t, hostOf(t, url))
	d, other := tab.open(p.through), tab.open(nil)
	l := still(1000)
	for _, key := range []string{"there", "new"} {
		debit := []driver.Request{{Key: key, Limits: l, Ops: ops(record(1))}}
		want := 998.0
		if key == "there" {
			if _, err := d.Apply(t.Context(), debit); err != nil {
				t.Fatal(err)
			}
			want--
		}
		// Somebody else comes between d's two round trips.
		var answered, came atomic.Bool
		p.set(func(m message) action {
			if m.fromServer && m.kind == 'Z' {
				answered.Store(true)
			} else if !m.fromServer && answered.Load() && !came.Swap(true) {
				if _, err := other.Apply(context.Background(), debit); err != nil {
					t.Error(err)
				}
			}
			return pass
		})
		before := d.Stats().Conflicts
		if _, err := d.Apply(t.Context(), debit); err != nil {
			t.Fatal(err)
		}
		p.set(nil)
		if n := d.Stats().Conflicts - before; n != 1 { // 0: nobody came between
			t.Errorf("key %s: %d conflicts were met, want one", key, n)
		}
		if level := levelOf(t, d, key, l); level < want || level > want+0.01 {
			t.Errorf("key %s: the level is %v, want %v", key, level, want)
		}
	}
}
