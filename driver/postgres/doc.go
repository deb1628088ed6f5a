// Package postgres keeps a limiter's state in a Postgres table, for a fleet that already runs one.
//
// # Basics
//
//	pool, err := pgxpool.New(ctx, "postgres://app@db/app")
//	err = postgres.Migrate(ctx, pool, nil) // once, by a role that may create tables; safe to repeat
//	d, err := postgres.New(ctx, pool, nil)
//	lim := throttle.New(d, models)
//
// or by URL, with a pool of its own:
//
//	d, err := driver.Open(ctx, "postgres://app@db/app?table=limits&timeout=2s")
//
// The URL's options are schema, table, timeout, async_commit, prune, notify, migrate and unlogged, as in [Options]; all
// others are pgx's own (sslmode, pool_max_conns, target_session_attrs and so on). The pool has 8 connections where
// pool_max_conns doesn't say otherwise: more of them don't make a limiter faster.
//
// # How it works
//
// Every batch, over however many keys, is one SERIALIZABLE transaction of two round trips: BEGIN and the states of all
// keys; then their new states and COMMIT. No lock is held while the client thinks, and none at all but those of the rows
// it writes. Transactions that conflict are repeated after a short random wait. A batch that changes nothing writes
// nothing. A COMMIT whose answer was lost is recognised by the batch's name, which the states remember.
//
// The server may be behind a pooler in transaction mode, such as pgbouncer: prepared statements are used only on
// connections that lead to one server process. docs/operating-postgres.md says how to run it, what it costs, and what
// is lost when.
//
// # Caveats
//
// A key has one row, so all programs that use it take turns: a few hundred to a few thousand batches a second. A batch
// holds what a limiter's callers asked for meanwhile, so callers don't take turns, but processes do.
//
// Where a standby that lags is promoted, or with async_commit or unlogged where the server crashes, what was taken last
// comes back: up to a burst of each key may be used twice.
package postgres
