package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

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
