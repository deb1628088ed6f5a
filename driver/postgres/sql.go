package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// sqlTexts are the statements of one table. Functions are named without a schema on purpose: a test puts a clock of its
// own before Postgres's on the search path.
type sqlTexts struct {
	setUp, insert                statement
	read, update                 statement // of many keys
	readOne, updateOne           statement // of one key, which is what a program with one hot key sends
	check, list, due, drop, keep string
}

// prepared are the statements that a session prepares: not the rare ones.
func (s *sqlTexts) prepared() []*statement {
	return []*statement{&beginStatement, &commitStatement, &s.setUp, &s.readOne, &s.updateOne, &s.read, &s.update}
}

// statement is a statement that a session may have prepared.
type statement struct{ name, text string }

func newStatement(text string) statement {
	hash := sha256.Sum256([]byte(text))
	return statement{"throttle_" + hex.EncodeToString(hash[:8]), text} // the same text is the same statement, whose ever it is
}

const (
	begin    = "BEGIN ISOLATION LEVEL SERIALIZABLE"
	commit   = "COMMIT"
	rollback = "ROLLBACK"
)

var beginStatement, commitStatement = newStatement(begin), newStatement(commit)

const (
	// pruneMargin is added to absent_at, for a clock that was ahead. A new row is looked at then: most keys that come are
	// used for a moment, and go.
	pruneMargin = time.Minute
	// pruneAgain is after how long, at the least, a row that was found in use is looked at again: a look writes the indexes.
	pruneAgain = 10 * time.Minute
	// pruneMost is after how long a row is looked at whatever it says, for limits that change.
	pruneMost = 24 * time.Hour
	// pruneRows bounds one statement's work.
	pruneRows = 500
)

func newTexts(o *Options) sqlTexts {
	table := o.qualified()
	// When to look at a new row, and again at one that may not be deleted yet: soon if it is full already and nobody has
	// used it since, so that only the margin isn't over.
	due := fmt.Sprintf("coalesce(absent_at, 'infinity') + interval '%d s'", int(pruneMargin.Seconds()))
	most := fmt.Sprintf("clock_timestamp() + interval '%d s'", int(pruneMost.Seconds()))
	firstLook := fmt.Sprintf("least(%s, %s)", due, most)
	nextLook := fmt.Sprintf("CASE WHEN absent_at < clock_timestamp() THEN %s ELSE least(greatest(%[1]s, clock_timestamp() + interval '%d s'), %s) END",
		due, int(pruneAgain.Seconds()), most)
	settings := []string{
		// A small table would be scanned whole, and under SERIALIZABLE each transaction would then conflict with all others.
		"set_config('enable_seqscan', 'off', true)",
		// The arrays' lengths would be looked at anew each time, and the statement planned for them: that takes longer than
		// to run it, and the plan is the same.
		"set_config('plan_cache_mode', 'force_generic_plan', true)",
		// Compiling a statement takes a hundred times as long as running one of these.
		"set_config('jit', 'off', true)",
		// A client that stopped between its two round trips must not hold back vacuum,
		fmt.Sprintf("set_config('idle_in_transaction_session_timeout', '%d', true)", 2*o.Timeout.Milliseconds()+1),
		// nor a lock on the table leave behind a server process for each attempt.
		fmt.Sprintf("set_config('lock_timeout', '%d', true)", o.Timeout.Milliseconds()*2/5+1),
	}
	if o.AsyncCommit {
		settings = append(settings, "set_config('synchronous_commit', 'off', true)")
	}
	return sqlTexts{
		setUp: newStatement("SELECT clock_timestamp(), " + strings.Join(settings, ", ")),

		// Versions of a row that a long transaction of somebody else's keeps alive stay in the index, newest last. Read
		// backwards, the first is the row; that takes an order, and "=" would make the planner drop it.
		read: newStatement(fmt.Sprintf(`SELECT k.n, t.state, t.id FROM unnest($1::text[]) WITH ORDINALITY AS k (key, n)
CROSS JOIN LATERAL (SELECT state, ctid::text AS id FROM %s WHERE key >= k.key AND key <= k.key ORDER BY key DESC LIMIT 1) AS t`, table)),

		readOne: newStatement(fmt.Sprintf(`SELECT 1::bigint, state, ctid::text FROM %s WHERE key >= $1 AND key <= $1 ORDER BY key DESC LIMIT 1`, table)),

		// For the same reason rows are named by where they are: nobody else can have moved one that this transaction
		// still sees and may update.
		update: newStatement(fmt.Sprintf(`UPDATE %s AS t SET state = u.state::json, absent_at = u.absent_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS u (id, state, absent_at) WHERE t.ctid = u.id::tid`, table)),

		updateOne: newStatement(fmt.Sprintf(`UPDATE %s SET state = $2::text::json, absent_at = $3::timestamptz WHERE ctid = $1::text::tid`, table)),

		insert: newStatement(fmt.Sprintf(`INSERT INTO %s (key, full_key, state, absent_at, prune_at)
SELECT key, full_key, state::json, absent_at, %s FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS u (key, full_key, state, absent_at)`,
			table, firstLook)),

		check: fmt.Sprintf(`SELECT key, full_key, state, absent_at, prune_at FROM %s LIMIT 0`, table),

		list: fmt.Sprintf(`SELECT key, full_key FROM %s WHERE ($1::text IS NULL OR key > $1) AND (absent_at IS NULL OR absent_at > clock_timestamp()) ORDER BY key LIMIT %d`, table, listRows),

		// A clock that is read once can be looked up in an index; clock_timestamp() itself is read for each row.
		due: fmt.Sprintf(`SELECT ctid::text, coalesce(absent_at < clock_timestamp() - interval '%d s', false) FROM %s
WHERE prune_at < (SELECT clock_timestamp()) ORDER BY prune_at LIMIT %d FOR UPDATE SKIP LOCKED`, int(pruneMargin.Seconds()), table, pruneRows),
		drop: fmt.Sprintf(`DELETE FROM %s WHERE ctid = ANY($1::tid[])`, table),
		keep: fmt.Sprintf(`UPDATE %s SET prune_at = %s WHERE ctid = ANY($1::tid[])`, table, nextLook),
	}
}
