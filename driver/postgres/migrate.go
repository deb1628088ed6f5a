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
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Migrate creates the schema and the table, if they aren't there. Many programs may call it at once. The role must be
// allowed to create them; afterwards it needs nothing: if the table is there, so may be any role. Errors are a
// [*driver.StoreError] or an [*OptionError].
func Migrate(ctx context.Context, db Beginner, options *Options) error {
	o, err := options.withDefaults()
	if err != nil {
		return err
	}
	text, err := SQL(options)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		there, err := isThere(ctx, tx, &o)
		if there || err != nil {
			return err
		}
		// One at a time: CREATE … IF NOT EXISTS fails for all but one of those who run it together.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", pgx.QueryExecModeExec, "throttle "+o.qualified()); err != nil {
			return err
		}
		there, err = isThere(ctx, tx, &o)
		if there || err != nil {
			return err
		}
		var hasSchema bool
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL", pgx.QueryExecModeExec, pgx.Identifier{o.Schema}.Sanitize()).Scan(&hasSchema); err != nil {
			return err
		}
		if !hasSchema {
			text = "CREATE SCHEMA " + pgx.Identifier{o.Schema}.Sanitize() + ";\n" + text
		}
		_, err = tx.Conn().PgConn().Exec(ctx, text).ReadAll()
		return err
	})
	if err != nil {
		return o.storeError("migrate", err)
	}
	return nil
}

func isThere(ctx context.Context, tx pgx.Tx, o *Options) (bool, error) {
	var there bool
	err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pgx.QueryExecModeExec, o.qualified()).Scan(&there)
	return there, err
}
