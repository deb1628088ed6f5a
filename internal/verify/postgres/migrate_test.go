package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// Programs of a fleet start together, each with migrate=true.
func TestMigrateTogether(t *testing.T) {
	url := testservice.Postgres(t)
	for range 5 {
		schema := testservice.Schema(t, url) + `_"new"` // Migrate creates it
		t.Cleanup(func() {
			c, err := pgx.Connect(context.Background(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close(context.Background())
			if _, err := c.Exec(context.Background(), "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE"); err != nil {
				t.Error(err)
			}
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				d, err := driver.Open(t.Context(), withQuery(t, url, "schema", schema, "table", `Odd "table" name`, "migrate", "true"))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: still(1), Ops: ops(record(1))}}); err != nil {
					t.Error(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

// Names are quoted, whatever is in them, and refused where Postgres would cut them off.
func TestMigrateNames(t *testing.T) {
	for _, name := range []string{`"`, `a"; DROP TABLE x; --`, "Ünïcode", "select", " ", "a.b", "%s", "$1", strings.Repeat("n", 63)} {
		tab := newTableAt(t, testservice.Postgres(t), postgres.Options{Table: name})
		d := tab.open(nil)
		for range 2 {
			if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: still(1), Ops: ops(record(1))}}); err != nil {
				t.Errorf("table %q: %v", name, err)
			}
		}
	}
	for _, o := range []postgres.Options{{Schema: strings.Repeat("n", 64)}, {Table: "a\x00"}, {Table: strings.Repeat("ü", 32)}} {
		var bad *postgres.OptionError
		if err := postgres.Migrate(t.Context(), nil, &o); !errors.As(err, &bad) {
			t.Errorf("%+v: error %v, want a *postgres.OptionError", o, err)
		}
		if _, err := postgres.New(t.Context(), nil, &o); !errors.As(err, &bad) {
			t.Errorf("%+v: error %v, want a *postgres.OptionError", o, err)
		}
	}
}

func TestMigrateAgain(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: still(10), Ops: ops(record(4))}}); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Migrate(t.Context(), tab.connect(), &tab.options); err != nil {
		t.Fatal(err)
	}
	if level := levelOf(t, d, "k", still(10)); level < 6 || level > 6.01 {
		t.Errorf("after a second Migrate the level is %v, want 6", level)
	}
}

func TestUnlogged(t *testing.T) {
	tab := newTableAt(t, testservice.Postgres(t), postgres.Options{Unlogged: true, AsyncCommit: true})
	var persistence string
	if err := tab.connect().QueryRow(t.Context(), tab.sql("SELECT relpersistence FROM pg_class WHERE oid = 'TABLE0'::regclass")).Scan(&persistence); err != nil {
		t.Fatal(err)
	}
	if persistence != "u" {
		t.Errorf("relpersistence is %q, want u", persistence)
	}
	d := tab.open(nil)
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: still(10), Ops: ops(record(4))}}); err != nil {
		t.Fatal(err)
	}
}

// A role that may not make the schema is told which right it lacks.
func TestMigrateWithoutTheRight(t *testing.T) {
	tab := newTable(t)
	pool := asRole(tab, "")
	missing := postgres.Options{Schema: tab.schema + "_missing"}
	wantStoreError(t, postgres.Migrate(t.Context(), pool, &missing), "42501", "GRANT")
	u, err := url.Parse(tab.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(tab.schema+"_role", "secret")
	_, err = driver.Open(t.Context(), withQuery(t, u.String(), "schema", missing.Schema, "migrate", "true"))
	wantStoreError(t, err, "42501", "GRANT")
}

// breaks is a connection whose transactions the server loses once they have sent so many queries.
type breaks struct {
	postgres.Beginner
	after int
}

func (b *breaks) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := b.Beginner.BeginTx(ctx, o)
	return &breaking{tx, b}, err
}

type breaking struct {
	pgx.Tx
	*breaks
}

// lose ends the server's side of the connection when it is time, and waits until that is noticed.
func (b *breaking) lose(ctx context.Context) {
	if b.after--; b.after < 0 {
		_, _ = b.Tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())") // it can't be answered
	}
}

func (b *breaking) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	b.lose(ctx)
	return b.Tx.QueryRow(ctx, sql, args...)
}

func (b *breaking) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	b.lose(ctx)
	return b.Tx.Exec(ctx, sql, args...)
}

// A server that goes away on the way leaves nothing half made, and is told of; the next Migrate makes the table.
func TestMigrateBreaks(t *testing.T) {
	url := testservice.Postgres(t)
	options := &postgres.Options{Schema: testservice.Schema(t, url), Table: "broken"}
	for after := range 3 { // a look, the lock, another look
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		var store *driver.StoreError
		if err := postgres.Migrate(t.Context(), &breaks{c, after}, options); !errors.As(err, &store) || store.Doing != "migrate" {
			t.Errorf("after %d queries: error %v, want a *driver.StoreError", after, err)
		}
		c.Close(context.Background())
	}
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var tables int
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = $1", options.Schema).Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables, %v, want none", tables, err)
	}
	if err := postgres.Migrate(t.Context(), c, options); err != nil {
		t.Error(err)
	}
}

// Programs with tables of their own in one schema start together, the first time: the schema is made once.
func TestMigrateTablesOfOneSchema(t *testing.T) {
	tab := newTable(t)
	pool := tab.pool(func(c *pgxpool.Config) { c.MaxConns = 4 })
	for round := range 5 {
		schema := fmt.Sprintf("%s_%d", tab.schema, round)
		t.Cleanup(func() { tab.exec("DROP SCHEMA IF EXISTS " + schema + " CASCADE") })
		var all sync.WaitGroup
		for _, table := range []string{"a", "b", "c", "d"} {
			all.Go(func() {
				if err := postgres.Migrate(t.Context(), pool, &postgres.Options{Schema: schema, Table: table}); err != nil {
					t.Errorf("table %s: %v", table, err)
				}
			})
		}
		all.Wait()
	}
}
