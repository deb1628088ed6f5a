package postgres

import (
	"errors"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// connectTo makes a pool connect to another address than its URL says, without TLS.
func connectTo(c *pgxpool.Config, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		panic(err)
	}
	c.ConnConfig.Host, c.ConnConfig.Port = host, uint16(n)
	c.ConnConfig.TLSConfig, c.ConnConfig.Fallbacks = nil, nil
}

func TestConformanceThroughPgbouncer(t *testing.T) {
	s := newSuite(t)
	bouncer := testservice.StartPgbouncer(t, s.url, 3, "SET search_path = "+s.clock.path())
	s.through = func(_ *table, c *pgxpool.Config) {
		connectTo(c, bouncer.Addr)
		delete(c.ConnConfig.RuntimeParams, "search_path") // pgbouncer refuses it
	}
	conformance.Run(t, s.open, s.conformance())
}

// Clients whose own mode of pgx is the one that pgbouncer can't stand, more of them than pgbouncer has connections.
func TestManyThroughPgbouncer(t *testing.T) {
	tab := newTable(t)
	bouncer := testservice.StartPgbouncer(t, tab.url, 2, "")
	l := still(1e6)
	var all sync.WaitGroup
	for range 6 {
		d := tab.open(func(c *pgxpool.Config) { connectTo(c, bouncer.Addr) })
		all.Go(func() {
			for range 20 {
				if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(record(1))}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if level := levelOf(t, tab.open(nil), "k", l); level < 1e6-120 || level > 1e6-119.99 {
		t.Errorf("the level is %v, want %v", level, 1e6-120)
	}
}

// Notifications don't come through a pooler, which shows when one subscribes; another connection can be given for them.
func TestNotifyThroughPgbouncer(t *testing.T) {
	tab := newTable(t)
	bouncer := testservice.StartPgbouncer(t, tab.url, 2, "")
	through := func(c *pgxpool.Config) { connectTo(c, bouncer.Addr) }
	n, err := postgres.NewNotifying(t.Context(), tab.pool(through), &tab.options)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var store *driver.StoreError
	if _, err := n.Notify(t.Context(), func(string, string) {}); !errors.Is(err, postgres.ErrPooled) || !errors.As(err, &store) || store.Remedy == "" {
		t.Errorf("error %v, want ErrPooled with a remedy", err)
	}
	options := tab.options
	options.Listen = tab.pool(nil).Config().ConnConfig
	n, err = postgres.NewNotifying(t.Context(), tab.pool(through), &options)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	awaitNotification(t, n, n)
}
