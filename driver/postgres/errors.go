package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// ContentionError is what an Apply met that was still losing against other transactions when its time was up. It is
// wrapped in a [*driver.StoreError]; nothing was applied.
type ContentionError struct {
	Attempts int
	Elapsed  time.Duration
	Err      error // what Postgres said last
}

func (e *ContentionError) Error() string {
	return fmt.Sprintf("%d attempts in %v lost to other transactions: %v", e.Attempts, e.Elapsed.Round(time.Millisecond), e.Err)
}

// Unwrap returns what Postgres said last.
func (e *ContentionError) Unwrap() error { return e.Err }

// PrivilegeError is what [New] met: the role lacks rights on the table. It is wrapped in a [*driver.StoreError].
type PrivilegeError struct {
	Table   string   // quoted
	Missing []string // SELECT, INSERT, UPDATE, DELETE
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("the role may not %s on %s", strings.Join(e.Missing, ", "), e.Table)
}

// EncodingError is what [New] met: the database can't hold every key. It is wrapped in a [*driver.StoreError].
type EncodingError struct{ Encoding string }

func (e *EncodingError) Error() string { return "the database's encoding is " + e.Encoding }

// stateError is a state that can't be read.
type stateError struct {
	stored string // column "key"
	err    error
}

func (e *stateError) Error() string { return fmt.Sprintf("state of key %.100q: %v", e.stored, e.err) }
func (e *stateError) Unwrap() error { return e.err }

// errTimeout is why an Apply ended whose ctx had not.
var errTimeout = errors.New("no answer within the driver's timeout")

func as[T error](err error) (T, bool) {
	var target T
	ok := errors.As(err, &target)
	return target, ok
}

// class says what can be done about an error.
type class int

const (
	fatal    class = iota // it would come again
	conflict              // another transaction was first
	broken                // the connection or the server is gone, perhaps not for long
	stale                 // a prepared statement is gone
)

func classify(err error) class {
	if errors.Is(err, errRolledBack) {
		return conflict
	}
	if isStale(err) {
		return stale
	}
	pg, ok := as[*pgconn.PgError](err)
	if !ok {
		if _, ok := as[*stateError](err); ok || errors.Is(err, puddle.ErrClosedPool) {
			return fatal
		}
		if _, ok := as[*rowsError](err); ok {
			return fatal
		}
		return broken
	}
	switch pg.Code {
	case "40001", "40P01", "40003":
		return conflict
	case "23505": // of two that insert a key, one may be told so
		return conflict
	case "57P01", "57P02", "57P03", "57P05", "53300":
		return broken
	}
	switch severity := cmp.Or(pg.SeverityUnlocalized, pg.Severity); {
	case strings.HasPrefix(pg.Code, "08") || severity == "PANIC":
		return broken
	case strings.HasPrefix(pg.Code, "28") || strings.HasPrefix(pg.Code, "3D") || pg.Code == "42704":
		return fatal // nobody is let in like that
	case severity == "FATAL":
		return broken
	}
	return fatal
}

// isStale says that a prepared statement isn't there, or there already: somebody else uses the connection's server
// process too.
func isStale(err error) bool {
	pg, ok := as[*pgconn.PgError](err)
	return ok && (pg.Code == "26000" || pg.Code == "42P05")
}

// isDefinite says whether an error of the second round trip means that nothing was applied: the server, still there,
// refused a statement. pgconn.SafeToRetry is no help: it is true also where a connection broke before the first answer,
// when all had been sent.
func isDefinite(err error) bool {
	if errors.Is(err, errRolledBack) {
		return true
	}
	pg, ok := as[*pgconn.PgError](err)
	return ok && pg.SeverityUnlocalized == "ERROR" && !strings.HasPrefix(pg.Code, "08") && !strings.HasPrefix(pg.Code, "57P")
}

// leadsElsewhere says that a new connection might reach a server that can do what this one refused.
func leadsElsewhere(err error) bool {
	pg, ok := as[*pgconn.PgError](err)
	return ok && (pg.Code == "25006" || pg.Code == "0A000")
}

// storeError wraps an error with what to do about it.
func (o *Options) storeError(doing string, err error) *driver.StoreError {
	if err == context.DeadlineExceeded { //nolint:errorlint // the pool returns it bare where no connection came in time
		err = fmt.Errorf("waited for a connection: %w", err)
	}
	return &driver.StoreError{Driver: "postgres", Doing: doing, Remedy: o.remedy(err), Err: err}
}

func (o *Options) remedy(err error) string {
	if p, ok := as[*PrivilegeError](err); ok {
		return fmt.Sprintf("GRANT %s ON %s TO the role", strings.Join(p.Missing, ", "), p.Table)
	}
	if _, ok := as[*EncodingError](err); ok {
		return "use a database with encoding UTF8"
	}
	if _, ok := as[*ContentionError](err); ok {
		return "fewer programs or larger batches on the keys, or a longer Options.Timeout"
	}
	if _, ok := as[*rowsError](err); ok {
		return fmt.Sprintf("%s has a trigger or row security that keeps rows back: remove it, or let the role pass", o.qualified())
	}
	if errors.Is(err, ErrPooled) {
		return "give Options.Listen the server's own address"
	}
	if _, ok := as[*bucket.VersionError](err); ok {
		return "upgrade every program that shares the table, or give this one an Options.Table of its own"
	}
	if s, ok := as[*stateError](err); ok {
		return fmt.Sprintf("delete the row whose key is %.100q: its quotas start full again", s.stored)
	}
	if pg, ok := as[*pgconn.PgError](err); ok {
		return o.pgRemedy(pg)
	}
	if errors.Is(err, errTimeout) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) {
		return "see whether the server hangs or is unreachable, whether something else than Postgres listens there, or whether all connections of the pool are in use"
	}
	if _, ok := as[*pgconn.ConnectError](err); ok {
		return "see whether a server listens there"
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		return "close the pool after the driver"
	}
	return ""
}

func (o *Options) pgRemedy(pg *pgconn.PgError) string {
	switch pg.Code {
	case "42P01", "3F000":
		return fmt.Sprintf("create %s with postgres.Migrate, with migrate=true in the URL, or with the SQL in docs/operating-postgres.md", o.qualified())
	case "42703", "42804", "42809":
		return fmt.Sprintf("%s is not a table of this driver's: give Options.Table another name", o.qualified())
	case "42501":
		return fmt.Sprintf("GRANT USAGE ON the schema and SELECT, INSERT, UPDATE, DELETE ON %s TO the role", o.qualified())
	case "53300":
		return "let fewer connections be open (pool_max_conns, a pooler), or raise the server's max_connections"
	case "25006", "0A000":
		return "this is a read-only standby: connect to the primary (several hosts and target_session_attrs=read-write find it)"
	case "57P01", "57P02", "57P03":
		return "the server is starting or shutting down: see its log"
	case "28P01", "28000":
		return "see the user, its password, and the server's pg_hba.conf"
	case "3D000":
		return "create the database, or name another"
	case "53100":
		return "the server's disk is full"
	case "55P03":
		return fmt.Sprintf("another session holds a lock on %s: see pg_locks", o.qualified())
	case "57014":
		return "a statement_timeout is in force that is too short, or somebody cancelled the statement"
	case "42704", "22023":
		return "an option of the URL is neither the driver's nor pgx's, so the server was asked for it"
	}
	return ""
}
