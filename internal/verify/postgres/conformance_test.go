package postgres

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// suite runs the conformance suite over a server, or over what stands before it.
type suite struct {
	url      string
	clock    *clock
	options  postgres.Options
	through  func(*table, *pgxpool.Config) // what the driver connects to; nil for the server
	notifies bool

	mu     sync.Mutex
	tables map[driver.Driver]*table
}

func newSuite(t *testing.T) *suite {
	url := testservice.Postgres(t)
	return &suite{url: url, clock: newClock(t, url), tables: map[driver.Driver]*table{}}
}

func (s *suite) open(tb testing.TB) driver.Driver {
	s.clock.reset()
	return s.another(newTableAt(tb, s.url, s.options))
}

func (s *suite) another(tab *table) driver.Driver {
	pool := tab.pool(func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["search_path"] = s.clock.path()
		if s.through != nil {
			s.through(tab, c)
		}
	})
	var d driver.Driver
	var err error
	if s.notifies {
		d, err = postgres.NewNotifying(context.Background(), pool, &tab.options)
	} else {
		d, err = postgres.New(context.Background(), pool, &tab.options)
	}
	if err != nil {
		tab.tb.Fatal(err)
	}
	tab.tb.Cleanup(func() { d.Close() })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[d] = tab
	return d
}

// tableOf is the table that a driver uses.
func (s *suite) tableOf(d driver.Driver) *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tables[d]
}

func (s *suite) conformance() *conformance.Options {
	again := func(_ testing.TB, d driver.Driver) driver.Driver { return s.another(s.tableOf(d)) }
	return &conformance.Options{
		Another:  again,
		Reopen:   again,
		SetClock: func(_ testing.TB, _ driver.Driver, now bucket.Micros) { s.clock.set(now) },
	}
}

func TestConformance(t *testing.T) {
	s := newSuite(t)
	conformance.Run(t, s.open, s.conformance())
}

func TestConformanceWithFaults(t *testing.T) {
	s := newSuite(t)
	s.notifies = true
	proxies := map[*table]*proxy{}
	s.through = func(tab *table, c *pgxpool.Config) {
		p := proxies[tab]
		if p == nil {
			p = newProxy(tab.tb, hostOf(tab.tb, tab.url))
			proxies[tab] = p
		}
		p.through(c)
		c.ConnConfig.RuntimeParams["application_name"] = tab.schema
	}
	o := s.conformance()
	o.Faults = faultsOf(func(d driver.Driver) (*table, *proxy) {
		tab := s.tableOf(d)
		return tab, proxies[tab]
	})
	conformance.Run(t, s.open, o)
}
