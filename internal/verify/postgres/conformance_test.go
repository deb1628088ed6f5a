package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

type poolConfig = pgxpool.Config

// suite runs the conformance suite over a server, or what stands before it.
type suite struct {
	tables
	url      func(testing.TB) string        // where to make tables
	before   func(*table) func(*poolConfig) // puts something before a table's server; nil for nothing
	notifies bool
}

func (s *suite) open(tb testing.TB) driver.Driver {
	tab := newTableAt(tb, s.url(tb), postgres.Options{})
	configure := tab.clocked()
	if s.before != nil {
		clock, through := configure, s.before(tab)
		configure = func(c *poolConfig) {
			clock(c)
			through(c)
		}
	}
	return s.another(&place{tab, configure})
}

func (s *suite) another(p *place) driver.Driver {
	if !s.notifies {
		return s.put(p.table.open(p.configure), p)
	}
	d, err := postgres.NewNotifying(context.Background(), p.table.pool(p.configure), &p.table.options)
	if err != nil {
		p.table.tb.Fatal(err)
	}
	p.table.tb.Cleanup(func() { d.Close() })
	return s.put(d, p)
}

func (s *suite) options() *conformance.Options {
	return &conformance.Options{
		Another:  func(tb testing.TB, d driver.Driver) driver.Driver { return s.another(s.get(d)) },
		Reopen:   func(tb testing.TB, d driver.Driver) driver.Driver { return s.another(s.get(d)) },
		SetClock: func(tb testing.TB, d driver.Driver, now bucket.Micros) { s.get(d).table.setClock(now) },
	}
}

func TestConformance(t *testing.T) {
	s := &suite{url: func(tb testing.TB) string { return testservice.Postgres(tb) }}
	conformance.Run(t, s.open, s.options())
}
