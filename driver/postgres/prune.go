package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tokenthrottle/throttle/driver"
)

// pruneForever prunes now and then until the driver is closed. Programs that share the table keep out of each other's
// way: each takes rows that no other has taken.
func (d *Driver) pruneForever() {
	for {
		every := d.options.PruneEvery
		timer := time.NewTimer(every/2 + rand.N(every)) // so that programs that started together don't prune together
		select {
		case <-timer.C:
		case <-d.background.Done():
			timer.Stop()
			return
		}
		// What failed is tried again next time; an Apply meets the same trouble and reports it.
		_, _ = d.prune(d.background)
	}
}

// Prune deletes the rows of keys that equal absent ones, and returns how many. It finds them by an index, a few hundred
// a transaction, and waits for nobody. The driver calls it by itself, see [Options.PruneEvery].
func (d *Driver) Prune(ctx context.Context) (rows int, err error) {
	rows, err = d.prune(ctx)
	if err != nil && !errors.Is(err, driver.ErrClosed) {
		err = d.options.storeError("prune", err)
	}
	return rows, err
}

func (d *Driver) prune(ctx context.Context) (rows int, err error) {
	for {
		gone, looked, err := d.pruneSome(ctx)
		rows += gone
		if err != nil || looked < pruneRows {
			return rows, err
		}
	}
}

// pruneSome looks at the rows that are due longest.
func (d *Driver) pruneSome(ctx context.Context) (gone, looked int, err error) {
	if !d.enter() {
		return 0, 0, driver.ErrClosed
	}
	defer d.leave()
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	// Under SERIALIZABLE, should that be the role's default, it would conflict with every Apply on the rows it looks at.
	err = pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = off"); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, d.sql.due, pgx.QueryExecModeExec)
		if err != nil {
			return err
		}
		drop, keep := []string{}, []string{} // where the rows are: they are locked, so they stay there
		var id string
		var absent bool
		if _, err := pgx.ForEachRow(rows, []any{&id, &absent}, func() error {
			if absent {
				drop = append(drop, id)
			} else {
				keep = append(keep, id)
			}
			return nil
		}); err != nil {
			return err
		}
		gone, looked = len(drop), len(drop)+len(keep)
		if _, err := tx.Exec(ctx, d.sql.drop, pgx.QueryExecModeExec, drop); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, d.sql.keep, pgx.QueryExecModeExec, keep)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return gone, looked, nil
}
