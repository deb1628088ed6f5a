package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/driver"
)

// Driver is a [driver.Driver] over a table. It is a [driver.Lister] too. It is made by [New] and safe for concurrent
// use.
type Driver struct {
	pool    *pgxpool.Pool
	owned   bool // the pool goes with the driver
	options Options
	sql     sqlTexts
	names   *driver.Namer
	gate    gate
	tell    func([]readyPlace) // of places that are ready; nil if nobody is told

	background context.Context // of what the driver does by itself
	stop       context.CancelFunc

	mu      sync.RWMutex
	closed  bool
	running sync.WaitGroup

	counters counters
}

// New returns a driver that uses a pool, which stays the caller's. It looks at the table and at the role's rights; an
// error is a [*driver.StoreError] that says what to do, or an [*OptionError].
//
// One connection at a time serves a limiter, a second one the pruning.
func New(ctx context.Context, pool *pgxpool.Pool, options *Options) (*Driver, error) {
	filled, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errNoConnection
	}
	d := &Driver{pool: pool, options: filled, sql: newTexts(&filled), names: driver.NewNamer()}
	if err := d.check(ctx); err != nil {
		return nil, err
	}
	d.background, d.stop = context.WithCancel(context.Background())
	if filled.PruneEvery > 0 {
		d.running.Go(d.pruneForever)
	}
	return d, nil
}

// check looks whether the table is there, is the driver's, and may be used.
func (d *Driver) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return d.options.storeError("open", err)
	}
	defer conn.Release()
	if encoding := conn.Conn().PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" && encoding != "" {
		return d.options.storeError("open", &EncodingError{encoding})
	}
	if _, err := conn.Exec(ctx, d.sql.check, pgx.QueryExecModeExec); err != nil {
		return d.options.storeError("open", err)
	}
	missing, err := missingRights(ctx, conn, &d.options)
	if err != nil {
		return d.options.storeError("open", err)
	}
	if len(missing) > 0 {
		return d.options.storeError("open", &PrivilegeError{d.options.qualified(), missing})
	}
	return nil
}

// missingRights are those of the rights the driver needs that the role hasn't got.
func missingRights(ctx context.Context, conn *pgxpool.Conn, o *Options) ([]string, error) {
	rights := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
	if o.PruneEvery < 0 {
		rights = rights[:3] // only pruning deletes
	}
	asked := make([]string, len(rights))
	for i, right := range rights {
		asked[i] = fmt.Sprintf("CASE WHEN has_table_privilege($1, '%s') THEN '' ELSE '%[1]s ' END", right)
	}
	var missing string
	err := conn.QueryRow(ctx, "SELECT "+strings.Join(asked, " || "), pgx.QueryExecModeExec, o.qualified()).Scan(&missing)
	return strings.Fields(missing), err
}

// enter says whether the driver is open; leave must follow.
func (d *Driver) enter() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return false
	}
	d.running.Add(1)
	return true
}

func (d *Driver) leave() { d.running.Done() }

// Close implements [driver.Driver]. It waits for what is under way, at most about [Options.Timeout].
func (d *Driver) Close() error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.running.Wait()
	if first && d.owned {
		d.pool.Close()
	}
	return nil
}
