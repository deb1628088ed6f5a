package postgres

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
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
		d.prune(d.background)
	}
}

// Prune deletes the rows of keys that equal absent ones, and returns how many. It finds them by an index, a few hundred
// a transaction, and waits for nobody. The driver calls it by itself, see [Options.PruneEvery].
func (d *Driver) Prune(ctx context.Context) (rows int, err error) {
	rows, err = d.prune(ctx)
	if err != nil {
		err = d.options.storeError("prune", err)
	}
	return rows, err
}

func (d *Driver) prune(ctx context.Context) (rows int, err error) {
	for {
		gone, kept, err := d.pruneSome(ctx)
		rows += gone
		if err != nil || gone+kept < pruneRows {
			return rows, err
		}
	}
}

func (d *Driver) pruneSome(ctx context.Context) (gone, kept int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	// Under SERIALIZABLE, should that be the role's default, it would conflict with every Apply on the rows it looks at.
	err = pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, d.sql.prune, pgx.QueryExecModeExec).Scan(&gone, &kept)
	})
	if err != nil {
		return 0, 0, err
	}
	return gone, kept, nil
}
