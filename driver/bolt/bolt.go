// Package bolt keeps a limiter's state in a bbolt file: it survives a restart, and kill -9.
//
// # Basics
//
//	d, err := bolt.Open("/var/lib/app/limits.db", nil)
//	…
//	lim := throttle.New(d, throttle.Static(throttle.PerDay("requests", 10_000)))
//
// or by URL: bolt:///var/lib/app/limits.db?timeout=2s for an absolute path, bolt:data/limits.db for a relative one.
//
// Each batch is one transaction, so the limiter's group commit costs one sync for all who ask at the same time. A
// request that changes nothing, such as a try that is refused, costs none. Who waits holds a place that is kept in the
// file, and renewed ten times a second (or as often as the limiter polls).
//
// # Caveats
//
// One process holds the file at a time; a second one gets [ErrLocked]. Share a limit between processes with
// driver/redis or driver/postgres.
//
// A process that dies loses its places in line, and what it had reserved and not settled counts as used: it comes back
// by refill only. The clock is the machine's, read once when the file is opened and steady from then on; a clock that was
// set back between two processes mints nothing and delays nothing.
//
// The file never shrinks; keys that have refilled are removed and their space is used again. See
// docs/operating-bolt.md.
package bolt

import (
	"context"
	"sync"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// DefaultTimeout is how long [Open] waits for a file that another process holds: long enough for one that is shutting
// down.
const DefaultTimeout = 5 * time.Second

// Options for [Open]; nil is like the zero value.
type Options struct {
	// Timeout is how long to wait for a file that another process holds. 0 means [DefaultTimeout]; below 0, not at all.
	Timeout time.Duration
	// Clock is read instead of the machine's clock, for tests.
	Clock func() bucket.Micros
}

// Driver is a [driver.Driver] over a file. It also is a [driver.Lister]. Use [Open].
type Driver struct {
	path    string
	db      *bbolt.DB
	now     func() bucket.Micros
	session uint64 // counts the times that the file was opened: who waited in an earlier one is dead
	opened  bucket.Micros

	turn    chan struct{} // whoever is in it has the file for writing; Close stays in it
	writes  chan writing  // for a goroutine that commits; closed by Close
	closing chan struct{} // closed when Close begins
	once    sync.Once
	closed  error // what closing the file returned

	// What follows belongs to whoever has the turn.
	cursor []byte                   // where the sweep goes on
	broken error                    // the file must not be written any more
	commit func(tx *bbolt.Tx) error // a field so that tests can slow it down or make it fail
}

var (
	_ driver.Driver = (*Driver)(nil)
	_ driver.Lister = (*Driver)(nil)
)

// Open opens the file at path, or makes it, with mode 0600; the directory must exist. An error is a
// [*driver.StoreError], and matches [ErrLocked], [ErrForeign], [ErrDamaged] or [ErrFormat] where one of them is the
// reason. Nothing but a missing or an empty file is ever initialised.
func Open(path string, opts *Options) (*Driver, error) {
	return open(context.Background(), path, opts)
}

func open(ctx context.Context, path string, opts *Options) (*Driver, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Clock == nil {
		start := time.Now()
		base := bucket.At(start)
		o.Clock = func() bucket.Micros { return base + bucket.Micros(time.Since(start)/time.Microsecond) }
	}
	db, err := openFile(ctx, path, o.Timeout)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		path: path, db: db, now: o.Clock, opened: o.Clock(),
		turn: make(chan struct{}, 1), writes: make(chan writing, 1), closing: make(chan struct{}),
		commit: func(tx *bbolt.Tx) error { return tx.Commit() },
	}
	if err := d.begin(); err != nil {
		_ = db.Close()
		return nil, err
	}
	go d.write()
	return d, nil
}

// Close implements [driver.Driver]. It waits for a commit under way and gives up the file.
func (d *Driver) Close() error {
	d.once.Do(func() {
		close(d.closing)
		d.turn <- struct{}{}
		close(d.writes)
		if err := d.db.Close(); err != nil {
			d.closed = d.storeError("close", err, "")
		}
	})
	return d.closed
}
