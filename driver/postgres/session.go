package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
)

// session is a connection of the pool while one Apply has it.
type session struct {
	conn  *pgxpool.Conn
	pg    *pgconn.PgConn
	facts *facts
}

// facts are what is known of a connection for as long as it lives.
type facts struct {
	// direct: one server process answers on this connection, so that what is prepared on it stays. A pooler tells its
	// clients a process id of its own making.
	direct   bool
	prepared map[string]*pgconn.StatementDescription
}

const factsKey = "github.com/tokenthrottle/throttle/driver/postgres"

// acquire takes a connection from the pool and, where it can, prepares the statements: that is faster by a quarter.
func (d *Driver) acquire(ctx context.Context) (*session, error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, pg: conn.Conn().PgConn()}
	known := s.pg.CustomData()
	s.facts, _ = known[factsKey].(*facts)
	if s.facts == nil {
		direct, err := isDirect(ctx, s.pg)
		if err != nil {
			s.release()
			return nil, err
		}
		s.facts = &facts{direct: direct, prepared: map[string]*pgconn.StatementDescription{}}
		known[factsKey] = s.facts
	}
	if !s.facts.direct {
		return s, nil
	}
	for _, st := range d.sql.prepared() {
		if s.facts.prepared[st.name] != nil {
			continue
		}
		description, err := s.pg.Prepare(ctx, st.name, st.text, nil)
		if isStale(err) {
			s.forget()
			break
		}
		if err != nil {
			s.release()
			return nil, err
		}
		s.facts.prepared[st.name] = description
	}
	return s, nil
}

func isDirect(ctx context.Context, pg *pgconn.PgConn) (bool, error) {
	r := pg.ExecParams(ctx, "SELECT pg_backend_pid()", nil, nil, nil, nil).Read()
	if r.Err != nil {
		return false, r.Err
	}
	return len(r.Rows) == 1 && string(r.Rows[0][0]) == fmt.Sprint(pg.PID()), nil
}

// forget makes the session do without prepared statements: somebody else dropped them, or several server processes
// answer after all.
func (s *session) forget() {
	s.facts.direct = false
	clear(s.facts.prepared)
}

// release gives the connection back, outside of any transaction. The pool destroys one that is broken.
func (s *session) release() {
	if !s.pg.IsClosed() && s.pg.TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.pg.ExecParams(ctx, rollback, nil, nil, nil, nil).Close() // if it fails, the pool destroys the connection
		cancel()
	}
	s.conn.Release()
}

// discard closes the connection: another might lead elsewhere.
func (s *session) discard() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s.pg.Close(ctx) // it is given up in any case
	s.conn.Release()
}

func (s *session) add(b *pgconn.Batch, st *statement, params ...*param) {
	values, oids := make([][]byte, len(params)), make([]uint32, len(params))
	for i, p := range params {
		values[i], oids[i] = p.data, p.oid
	}
	formats := []int16{pgtype.BinaryFormatCode} // one for all
	if description := s.facts.prepared[st.name]; description != nil {
		b.ExecStatement(description, values, formats, formats)
	} else {
		b.ExecParams(st.text, values, oids, formats, formats)
	}
}

func addPlain(b *pgconn.Batch, text string) { b.ExecParams(text, nil, nil, nil, nil) }

// begin is the first round trip: it ends a transaction that failed, begins one, and reads the states of keys, a text or
// texts. found gets each state that is there, with the index of its key and the id of its row; it must copy what it keeps.
func (s *session) begin(ctx context.Context, sql *sqlTexts, keys *param, found func(i int, text []byte, id string) error) (bucket.Micros, error) {
	var b pgconn.Batch
	if s.pg.TxStatus() != 'I' {
		addPlain(&b, rollback)
	}
	s.add(&b, &beginStatement)
	s.add(&b, &sql.setUp)
	if keys.oid == pgtype.TextOID {
		s.add(&b, &sql.readOne, keys)
	} else {
		s.add(&b, &sql.read, keys)
	}

	var now bucket.Micros
	var failed error // in what the server sent; the rest must be read all the same
	results := s.pg.ExecBatch(ctx, &b)
	for results.NextResult() {
		r := results.ResultReader()
		for r.NextRow() {
			if failed != nil {
				continue
			}
			if v := r.Values(); len(v) > 3 { // setUp
				now, failed = decodeInstant(v[0])
			} else if n, err := decodeInt8(v[0]); err != nil {
				failed = err
			} else {
				failed = found(int(n)-1, v[1], string(v[2]))
			}
		}
		if _, err := r.Close(); err != nil {
			break // Close returns it too
		}
	}
	if err := results.Close(); err != nil {
		return 0, err
	}
	return now, failed
}

// errRolledBack: the server answered COMMIT with ROLLBACK.
var errRolledBack = errors.New("the server rolled the transaction back")

// rowsError says that the server wrote other rows than it was given, without an error: a trigger or row security of
// somebody's keeps them back.
type rowsError struct{ written, want int64 }

func (e *rowsError) Error() string {
	return fmt.Sprintf("the server wrote %d rows of %d", e.written, e.want)
}

// finish is the second round trip: b, which writes so many rows and ends with COMMIT.
func (s *session) finish(ctx context.Context, b *pgconn.Batch, rows int) error {
	results := s.pg.ExecBatch(ctx, b)
	var tag pgconn.CommandTag
	written := int64(0)
	for results.NextResult() {
		var err error
		if tag, err = results.ResultReader().Close(); err != nil {
			break // Close returns it too
		}
		written += tag.RowsAffected()
	}
	if err := results.Close(); err != nil {
		return err
	}
	if tag.String() != commit {
		return errRolledBack
	}
	if written != int64(rows) {
		return &rowsError{written, int64(rows)}
	}
	return nil
}
