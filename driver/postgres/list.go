package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"github.com/tokenthrottle/throttle/driver"
)

// listRows is how many keys are read at a time.
const listRows = 1000

// Keys implements [driver.Lister]. Keys that equal absent ones are left out. It reads a page at a time, and holds
// neither a transaction nor a connection between them.
func (d *Driver) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var after *string // the last key of the page before
		for {
			page, err := d.page(ctx, after)
			if err != nil {
				yield("", err)
				return
			}
			for _, k := range page {
				stored := k.Key
				if k.Full != nil {
					stored = *k.Full
				}
				key, ok := unescapeKey(stored)
				if !ok {
					continue // no driver stored it
				}
				if !yield(key, nil) {
					return
				}
			}
			if len(page) < listRows {
				return
			}
			after = &page[len(page)-1].Key
		}
	}
}

// listed is a key as it is stored.
type listed struct {
	Key  string
	Full *string
}

func (d *Driver) page(ctx context.Context, after *string) ([]listed, error) {
	if !d.enter() {
		return nil, driver.ErrClosed
	}
	defer d.leave()
	bounded, cancel := context.WithTimeoutCause(ctx, d.options.Timeout, errTimeout)
	defer cancel()
	rows, err := d.pool.Query(bounded, d.sql.list, pgx.QueryExecModeExec, after)
	if err == nil {
		var page []listed
		if page, err = pgx.CollectRows(rows, pgx.RowToStructByPos[listed]); err == nil {
			return page, nil
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, d.options.storeError("list", err)
}
