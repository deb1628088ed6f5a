package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// A key that was used for a moment is gone a minute after it equals an absent one; one that is in use is looked at once
// then, and not again for ten minutes, since a look writes the indexes.
func TestWhenRowsArePruned(t *testing.T) {
	second, minute := bucket.Second, bucket.Minute
	perSecond, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 500, Per: bucket.Second})
	if err != nil {
		t.Fatal(err)
	}
	perDay, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 2400, Per: bucket.Day})
	if err != nil {
		t.Fatal(err)
	}
	perWeek, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 700, Per: 7 * bucket.Day})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		limits *bucket.Limits
		cost   float64
		used   []bucket.Micros // when; the first at 0
		looks  []bucket.Micros // when it is looked at; the last time it goes
		ops    []bucket.Op     // what is done then; nil: the cost is recorded
	}{
		"used once":                   {perSecond, 1, []bucket.Micros{0}, []bucket.Micros{2 * minute}, nil},
		"used twice":                  {perSecond, 1, []bucket.Micros{0, 30 * second}, []bucket.Micros{2 * minute, 2*minute + 30*second}, nil},
		"in use when it is looked at": {perSecond, 1, []bucket.Micros{0, 110 * second}, []bucket.Micros{2 * minute, 12 * minute}, nil},
		"in use for long":             {perSecond, 1, []bucket.Micros{0, 110 * second, 11*minute + 50*second}, []bucket.Micros{2 * minute, 12 * minute, 22 * minute}, nil},
		"refills for an hour":         {perDay, 100, []bucket.Micros{0}, []bucket.Micros{61 * minute}, nil},
		"refills for two days":        {perWeek, 200, []bucket.Micros{0}, []bucket.Micros{24 * bucket.Hour, 48 * bucket.Hour, 48*bucket.Hour + minute}, nil},
		"a limit was set, and cleared": {
			perSecond, 1, []bucket.Micros{0, 47 * bucket.Hour}, []bucket.Micros{24 * bucket.Hour, 48 * bucket.Hour},
			ops(bucket.Op{Kind: bucket.SetLimit, Limit: 100}, bucket.Op{Kind: bucket.ClearLimit}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuite(t)
			s.options.PruneEvery = -1
			d := s.open(t).(*postgres.Driver)
			tab := s.tableOf(d)
			conn := tab.connect()
			start := bucket.At(time.Now().Truncate(time.Second))
			prune := func(at bucket.Micros, want int) {
				t.Helper()
				s.clock.set(at)
				if rows, err := d.Prune(t.Context()); err != nil || rows != want {
					t.Errorf("%v after the first use Prune deleted %d rows, %v; want %d", (at - start).Duration(), rows, err, want)
				}
			}
			for i, at := range c.looks {
				for ; len(c.used) > 0 && c.used[0] < at; c.used = c.used[1:] {
					s.clock.set(start + c.used[0])
					op := record(c.cost)
					if len(c.ops) > 0 {
						op, c.ops = c.ops[0], c.ops[1:]
					}
					if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: c.limits, Ops: ops(op)}}); err != nil {
						t.Fatal(err)
					}
				}
				var look time.Time
				if err := conn.QueryRow(t.Context(), tab.sql("SELECT prune_at FROM TABLE0")).Scan(&look); err != nil {
					t.Fatal(err)
				}
				due := bucket.At(look)
				// Each look is a moment late, and the next one so much later.
				if late := due - start - at; late < 0 || late >= bucket.Second {
					t.Errorf("look %d is due %v after the first use, want %v", i+1, (due - start).Duration(), at.Duration())
				}
				gone := 0
				if i == len(c.looks)-1 {
					gone = 1
				}
				prune(due-1, 0)
				prune(due+1, gone)
			}
		})
	}
}

// A row with a long line stays in its place, compressed: what is stored apart, in the TOAST table, is cleared away by a
// vacuum alone, and until one came a busy key left each of its versions there.
func TestLongLineStaysInItsRow(t *testing.T) {
	// A server of its own: a transaction of another test's would keep old versions alive.
	tab := newTableAt(t, testservice.StartPostgres(t).URL, postgres.Options{})
	pool := tab.single()
	d := tab.over(pool)
	l := still(1000)
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1000))}}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		wait := bucket.Op{
			Kind: bucket.Acquire, Cost: []float64{float64(20 + i)}, Place: fmt.Sprintf("%016x/%d", i*7919, i), Flow: fmt.Sprint("tenant-", i*7919%1000),
			Poll: bucket.Hour, Grace: bucket.Hour,
		}
		if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(wait)}}); err != nil {
			t.Fatal(err)
		}
	}
	before := tab.figures(pool)
	for range 300 {
		if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1))}}); err != nil {
			t.Fatal(err)
		}
	}
	after := tab.figures(pool)
	var text, stored, apart int
	if err := pool.QueryRow(t.Context(), tab.sql(`SELECT octet_length(state::text), pg_column_size(state),
		pg_relation_size((SELECT reltoastrelid FROM pg_class WHERE oid = 'TABLE0'::regclass)) FROM TABLE0`)).Scan(&text, &stored, &apart); err != nil {
		t.Fatal(err)
	}
	t.Logf("a state of %d bytes is stored in %d; table %d bytes, apart %d; %d of %d updates were HOT", text, stored, after.TableBytes, apart, after.Hot-before.Hot, after.Updates-before.Updates)
	if text < 8192 {
		t.Fatalf("a state of %d bytes isn't long", text)
	}
	if apart > 0 {
		t.Errorf("%d bytes are stored apart", apart)
	}
	if after.TableBytes > 10*8192 {
		t.Errorf("the table has %d bytes after 300 updates of one row, want at most ten pages", after.TableBytes)
	}
}
