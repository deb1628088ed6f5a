package postgres

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/driver"
)

func init() {
	driver.Register("postgres", open)
	driver.Register("postgresql", open)
}

const (
	// poolSize is the size of the pool that a URL opens, unless it says pool_max_conns.
	poolSize = 8
	poolKey  = "pool_max_conns"
)

// open opens a driver with a pool of its own.
func open(ctx context.Context, u *url.URL) (driver.Driver, error) {
	q := driver.NewQuery(u)
	options := &Options{
		Schema:      q.String("schema", ""),
		Table:       q.String("table", ""),
		Timeout:     q.Duration("timeout", 0),
		AsyncCommit: q.Bool("async_commit", false),
		PruneEvery:  q.Duration("prune", 0),
		Unlogged:    q.Bool("unlogged", false),
	}
	notify, migrate := q.Bool("notify", false), q.Bool("migrate", false)
	rest := q.Rest()
	if err := q.Err(); err != nil {
		return nil, err
	}
	if !rest.Has(poolKey) {
		rest.Set(poolKey, strconv.Itoa(poolSize))
	}
	if !rest.Has("application_name") {
		rest.Set("application_name", "throttle")
	}
	clients := *u
	clients.RawQuery = strings.ReplaceAll(rest.Encode(), "+", "%20") // to pgx, as to libpq, a plus is a plus
	pool, err := newPool(ctx, &clients, cmp.Or(options.Timeout, defaultTimeout))
	if err != nil {
		return nil, err
	}
	d, err := openOver(ctx, pool, options, migrate, notify)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return d, nil
}

func newPool(ctx context.Context, u *url.URL, timeout time.Duration) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, err // pgx leaves the password out
	}
	if config.ConnConfig.ConnectTimeout == 0 { // what accepts and never answers would hold Migrate for ever
		config.ConnConfig.ConnectTimeout = timeout
	}
	// A connection that broke while it was idle shows at the first round trip, when nothing is lost yet: a trip before
	// it, to find out, isn't worth it.
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	return pgxpool.NewWithConfig(ctx, config)
}

func openOver(ctx context.Context, pool *pgxpool.Pool, options *Options, migrate, notify bool) (driver.Driver, error) {
	if migrate {
		if err := Migrate(ctx, pool, options); err != nil {
			return nil, err
		}
	}
	if notify {
		n, err := NewNotifying(ctx, pool, options)
		if err != nil {
			return nil, err
		}
		n.owned = true
		return n, nil
	}
	d, err := New(ctx, pool, options)
	if err != nil {
		return nil, err
	}
	d.owned = true
	return d, nil
}
