// Package postgres tests driver/postgres against real servers.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) { testservice.Main(m) }

// table is a table of the test's own, in a schema of its own.
type table struct {
	tb      testing.TB
	url     string // of the server
	schema  string
	options postgres.Options
}

func newTable(tb testing.TB) *table {
	tb.Helper()
	return newTableAt(tb, testservice.Postgres(tb), postgres.Options{})
}

func newTableAt(tb testing.TB, url string, options postgres.Options) *table {
	tb.Helper()
	tab := &table{tb: tb, url: url, schema: testservice.Schema(tb, url)}
	options.Schema = tab.schema
	tab.options = options
	if err := postgres.Migrate(tb.Context(), tab.connect(), &tab.options); err != nil {
		tb.Fatal(err)
	}
	return tab
}

// connect returns a connection past any proxy or pooler.
func (tab *table) connect() *pgx.Conn {
	tab.tb.Helper()
	c, err := pgx.Connect(context.Background(), tab.url)
	if err != nil {
		tab.tb.Fatal(err)
	}
	tab.tb.Cleanup(func() { c.Close(context.Background()) })
	return c
}

// exec runs SQL on a connection of its own; see [table.sql].
func (tab *table) exec(sql string) {
	tab.tb.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, tab.url)
	if err != nil {
		tab.tb.Fatal(err)
	}
	defer c.Close(ctx)
	tab.execOn(c, sql)
}

func (tab *table) execOn(c *pgx.Conn, sql string) {
	tab.tb.Helper()
	if _, err := c.Exec(context.Background(), tab.sql(sql)); err != nil {
		tab.tb.Fatalf("%s: %v", sql, err)
	}
}

// sql puts the table's name in place of each TABLE0.
func (tab *table) sql(text string) string {
	name := cmp.Or(tab.options.Table, "throttle")
	return strings.ReplaceAll(text, "TABLE0", pgx.Identifier{tab.schema, name}.Sanitize())
}

// pool returns a pool as an URL would open it; configure may change it.
func (tab *table) pool(configure func(*pgxpool.Config)) *pgxpool.Pool {
	tab.tb.Helper()
	config, err := pgxpool.ParseConfig(tab.url)
	if err != nil {
		tab.tb.Fatal(err)
	}
	config.MaxConns = 8
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	if configure != nil {
		configure(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		tab.tb.Fatal(err)
	}
	tab.tb.Cleanup(pool.Close)
	return pool
}

// open opens a driver with a pool of its own.
func (tab *table) open(configure func(*pgxpool.Config)) *postgres.Driver {
	tab.tb.Helper()
	d, err := postgres.New(context.Background(), tab.pool(configure), &tab.options)
	if err != nil {
		tab.tb.Fatal(err)
	}
	tab.tb.Cleanup(func() { d.Close() })
	return d
}

// settle waits until no transaction on the table is under way.
func (tab *table) settle() {
	tab.tb.Helper()
	c := tab.connect()
	deadline := time.Now().Add(10 * time.Second)
	for {
		var busy bool
		if err := c.QueryRow(context.Background(), "SELECT EXISTS (SELECT FROM pg_locks AS l WHERE l.relation = $1::regclass AND l.pid <> pg_backend_pid())", tab.sql("TABLE0")).Scan(&busy); err != nil {
			tab.tb.Fatal(err)
		}
		if !busy {
			return
		}
		if time.Now().After(deadline) {
			tab.tb.Fatal("transactions on the table don't end")
		}
	}
}

// clock is a clock that a test can set: a function that hides Postgres's own from sessions that look for it there
// first.
type clock struct {
	tb     testing.TB
	schema string
	conn   *pgx.Conn
}

func newClock(tb testing.TB, url string) *clock {
	tb.Helper()
	c := &clock{tb: tb, schema: testservice.Schema(tb, url)}
	var err error
	if c.conn, err = pgx.Connect(context.Background(), url); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.conn.Close(context.Background()) })
	c.exec(`CREATE TABLE %[1]s.clock (at timestamptz);
		CREATE FUNCTION %[1]s.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
		'SELECT coalesce((SELECT at FROM %[1]s.clock), pg_catalog.clock_timestamp())'`)
	return c
}

// path is the search_path of a session that goes by the clock.
func (c *clock) path() string { return c.schema + ", pg_catalog" }

// set sets the clock; it stands still then.
func (c *clock) set(now bucket.Micros) {
	c.tb.Helper()
	c.exec("TRUNCATE %[1]s.clock; INSERT INTO %[1]s.clock VALUES ('" + now.Time().UTC().Format(time.RFC3339Nano) + "')")
}

// reset lets it go as Postgres's again.
func (c *clock) reset() {
	c.tb.Helper()
	c.exec("TRUNCATE %[1]s.clock")
}

func (c *clock) exec(sql string) {
	c.tb.Helper()
	if _, err := c.conn.Exec(context.Background(), fmt.Sprintf(sql, c.schema)); err != nil {
		c.tb.Fatal(err)
	}
}

// withQuery adds options to a URL.
func withQuery(tb testing.TB, raw string, options ...string) string {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	for i := 0; i < len(options); i += 2 {
		q.Set(options[i], options[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// still is a quota that doesn't refill while a test runs.
func still(units float64) *bucket.Limits {
	l, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: units, Per: bucket.MaxSpan})
	if err != nil {
		panic(err)
	}
	return l
}

func ops(o ...bucket.Op) []bucket.Op { return o }

func acquire(cost ...float64) bucket.Op { return bucket.Op{Kind: bucket.Acquire, Cost: cost} }
func record(cost ...float64) bucket.Op  { return bucket.Op{Kind: bucket.Record, Cost: cost} }
func adjust(cost ...float64) bucket.Op  { return bucket.Op{Kind: bucket.Adjust, Cost: cost} }

// levelOf is the level of a key's first bucket.
func levelOf(tb testing.TB, d driver.Driver, key string, l *bucket.Limits) float64 {
	tb.Helper()
	r, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: l, Ops: ops(bucket.Op{Kind: bucket.Peek})}})
	if err != nil {
		tb.Fatal(err)
	}
	return r[0].Results[0].State.Buckets[0].Level
}
