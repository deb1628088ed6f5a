package postgres

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// A ctx that ends while COMMIT is under way: the outcome is reported as unknown, soon, or known.
func TestContextEndsDuringCommit(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{})
	p := newProxy(t, hostOf(t, url))
	d := tab.open(p.through)
	l := still(1000)
	request := []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1))}}
	if _, err := d.Apply(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p.set(func(m message) action {
		if m.committed() {
			cancel()
			return hold
		}
		return pass
	})
	start := time.Now()
	_, err := d.Apply(ctx, request)
	took := time.Since(start)
	p.set(nil)
	if !errors.Is(err, driver.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want one that matches ErrUnknownOutcome and context.Canceled", err)
	}
	if took > time.Second {
		t.Errorf("Apply returned %v after ctx had ended", took)
	}
	if level := levelOf(t, d, "k", l); level < 998 || level > 998.01 {
		t.Errorf("the level is %v, want 998: it was committed", level)
	}
	p.cutAll() // Close waits for the answer otherwise
}

// An attempt that was given up, and arrives at last when its repeat was answered, changes nothing: neither where the
// repeat was granted, nor where it was refused and would have had nothing to write.
func TestLateCommit(t *testing.T) {
	url := testservice.Postgres(t)
	l := still(1000)
	for _, c := range []struct {
		name    string
		before  float64 // taken, 0 for a new key
		between float64 // taken by somebody else while the attempt is on its way
		want    bucket.Status
		level   float64
	}{
		{"of a key that is there", 100, 0, bucket.Granted, 800},
		{"of a new key", 0, 0, bucket.Granted, 900},
		{"refused the second time", 100, 850, bucket.Refused, 50},
		{"refused the second time, of a new key", 0, 950, bucket.Refused, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tab := newTableAt(t, url, postgres.Options{})
			p := newProxy(t, hostOf(t, url))
			d, other := tab.open(p.through), tab.open(nil)
			take := func(d driver.Driver, op bucket.Op) bucket.Status {
				r, err := d.Apply(context.Background(), []driver.Request{{Key: "k", Limits: l, Ops: ops(op)}})
				if err != nil {
					t.Fatal(err)
				}
				return r[0].Results[0].Status
			}
			if _, err := d.Apply(t.Context(), []driver.Request{{Key: "warm up", Limits: l, Ops: ops(record(1))}}); err != nil {
				t.Fatal(err)
			}
			if c.before > 0 {
				take(other, record(c.before))
			}
			var answered atomic.Bool
			late, arrived := make(chan struct{}), make(chan struct{})
			hold := func(m message) bool { return !m.fromServer && answered.Load() }
			first := once(cut, hold) // of the second round trip; cut stands for nothing here
			p.set(func(m message) action {
				if m.fromServer && m.kind == 'Z' {
					answered.Store(true)
				}
				if first(m) == cut {
					if c.between > 0 {
						take(other, record(c.between))
					}
					<-late
					defer close(arrived)
				}
				return pass
			})
			got := take(d, acquire(100))
			close(late)
			<-arrived
			if got != c.want {
				t.Errorf("the acquire is %v, want %v", got, c.want)
			}
			if d.Stats().Lost != 1 {
				t.Errorf("%+v: want one lost answer", d.Stats())
			}
			tab.settle()
			if level := levelOf(t, other, "k", l); level < c.level || level > c.level+0.01 {
				t.Errorf("the level is %v, want %v", level, c.level)
			}
		})
	}
}

// An answer is lost, and before the next attempt so many others come that the row no longer remembers the first: the
// driver can't tell whether it was applied, here it was, so it says so and doesn't do it again.
func TestForgottenAfterALoss(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{})
	p := newProxy(t, hostOf(t, url))
	d := tab.open(p.through)
	l := still(1000)
	request := []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1))}}
	if _, err := d.Apply(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	direct := tab.pool(nil)
	var others []driver.Driver
	for range bucket.MaxBatches {
		others = append(others, tab.over(direct))
	}
	var came atomic.Int64
	p.set(once(cut, func(m message) bool {
		if !m.committed() || came.Load() > 0 {
			return false
		}
		for _, other := range others {
			if _, err := other.Apply(t.Context(), request); err != nil {
				t.Error(err)
			}
			came.Add(1)
		}
		return true
	}))
	if _, err := d.Apply(t.Context(), request); !errors.Is(err, driver.ErrUnknownOutcome) || !strings.Contains(err.Error(), "no longer remembers") {
		t.Errorf("error %v, want ErrUnknownOutcome, and why", err)
	}
	if s := d.Stats(); s.Lost != 1 || s.Unknown != 1 {
		t.Errorf("%+v, want one answer lost and one outcome unknown", s)
	}
	if level, want := levelOf(t, d, "k", l), 1000-float64(2+bucket.MaxBatches); level < want || level > want+0.01 {
		t.Errorf("the level is %v, want %v", level, want)
	}
}

// A program that shares the pool drops all prepared statements whenever it gives a connection back: the driver does
// without them from the first that it misses.
func TestPreparedStatementsAreDropped(t *testing.T) {
	tab := newTable(t)
	d := tab.open(func(c *pgxpool.Config) {
		c.MaxConns = 1
		c.AfterRelease = func(conn *pgx.Conn) bool {
			_, err := conn.PgConn().Exec(context.Background(), "DISCARD ALL").ReadAll()
			return err == nil
		}
	})
	l := still(1000)
	for range 3 {
		if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1))}}); err != nil {
			t.Fatal(err)
		}
	}
	if level := levelOf(t, d, "k", l); level < 997 || level > 997.01 {
		t.Errorf("the level is %v, want 997", level)
	}
	if s := d.Stats(); s.Batches != 4 || s.Broken != 0 || s.Lost != 0 {
		t.Errorf("%+v, want four batches, and no connection broken or answer lost", s)
	}
}
