package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// A request that leaves nothing behind writes no row.
func TestNothingToKeep(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	l := still(1000)
	for _, o := range [][]bucket.Op{ops(bucket.Op{Kind: bucket.Peek}), ops(acquire(1001)), ops(bucket.Op{Kind: bucket.Leave, Place: "p"})} {
		if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: o}, {Key: "other", Limits: l, Ops: o}}); err != nil {
			t.Fatal(err)
		}
		var rows int
		if err := tab.connect().QueryRow(t.Context(), tab.sql("SELECT count(*) FROM TABLE0")).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows != 0 {
			t.Errorf("%v left %d rows behind", o[0].Kind, rows)
		}
	}
}

// A server that is gone isn't asked again and again without a pause.
func TestBrokenIsAskedSeldom(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{Timeout: 2 * time.Second})
	p := newProxy(t, hostOf(t, url))
	d := tab.open(p.through)
	request := []driver.Request{{Key: "k", Limits: still(1000), Ops: ops(record(1))}}
	if _, err := d.Apply(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	p.set(func(message) action { return cut })
	if _, err := d.Apply(context.Background(), request); err == nil {
		t.Fatal("a server that cuts every connection answered")
	}
	if n := d.Stats().Broken; n < 2 || n > 100 {
		t.Errorf("%d attempts in 2 s, want some, and less than 100", n)
	}
}
