package postgres

import (
	"context"
	_ "embed"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed schema.sql
var schema string

const schemaTable = `"public"."throttle"` // the table's name in schema.sql

// SQL returns the statements that [Migrate] runs to create the table that the options name, for those who run them
// themselves.
func SQL(options *Options) (string, error) {
	o, err := options.withDefaults()
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(schema, schemaTable, o.qualified())
	if o.Unlogged {
		text = strings.Replace(text, "CREATE TABLE", "CREATE UNLOGGED TABLE", 1)
	}
	return text, nil
}

// Beginner begins transactions: a *pgxpool.Pool or a *pgx.Conn.
type Beginner interface {
	BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
}

// Migrate creates the schema and the table, if they aren't there. Many programs may call it at once. The role must be
// allowed to create them; where the table is there, any role may call it. Errors are a [*driver.StoreError] or an
// [*OptionError].
func Migrate(ctx context.Context, db Beginner, options *Options) error {
	o, err := options.withDefaults()
	if err != nil {
		return err
	}
	if db == nil {
		return errNoConnection
	}
	text, err := SQL(options)
	if err != nil {
		return err
	}
	// Each statement must see what was committed before it began, so that after the lock it sees the table.
	err = pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		found, err := look(ctx, tx, &o)
		if found.table || err != nil {
			return err
		}
		// One at a time in a schema: of several who run CREATE … IF NOT EXISTS together, all but one may fail.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", pgx.QueryExecModeExec, "throttle "+o.Schema); err != nil {
			return err
		}
		if found, err = look(ctx, tx, &o); found.table || err != nil {
			return err
		}
		if !found.schema {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+pgx.Identifier{o.Schema}.Sanitize()); err != nil {
				return err
			}
		}
		_, err = tx.Conn().PgConn().Exec(ctx, text).ReadAll()
		return err
	})
	if err != nil {
		return o.storeError("migrate", err)
	}
	return nil
}

// there says what is there already.
type there struct{ schema, table bool }

// look reads the catalog itself: what to_regclass answers may be as old as the transaction.
func look(ctx context.Context, tx pgx.Tx, o *Options) (found there, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)`,
		pgx.QueryExecModeExec, o.Schema, o.Table).Scan(&found.schema, &found.table)
	return found, err
}
