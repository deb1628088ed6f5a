package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Apply implements [driver.Driver]. The batch is one transaction: all of it is applied or nothing is. If ctx ends while
// the file is being synced, the outcome is unknown.
func (d *Driver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	select {
	case <-d.closing:
		return nil, driver.ErrClosed
	default:
	}
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-d.closing:
		return nil, driver.ErrClosed
	}
	responses, tx, err := d.decide(batch)
	if tx == nil {
		<-d.turn
		return responses, err
	}
	if err := d.await(ctx, tx); err != nil {
		return nil, err
	}
	return responses, nil
}

// await commits and gives up the turn, or returns before that when ctx ends. Nobody looks at the batch from here on.
func (d *Driver) await(ctx context.Context, tx *bbolt.Tx) error {
	if ctx.Done() == nil {
		return d.end(tx) // handing it over would cost some 10 % of two syncs
	}
	w := writing{tx, make(chan error, 1)}
	d.writes <- w // there is room: whoever has the turn is the only one who writes
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-w.done:
		return err
	default:
		return fmt.Errorf("%w: %s: the file was being written: %w", driver.ErrUnknownOutcome, d.path, ctx.Err())
	}
}

// writing is a commit that is carried out for a caller who may go away meanwhile.
type writing struct {
	tx   *bbolt.Tx
	done chan error // has room for the outcome
}

// write carries out commits until the driver is closed. It is one goroutine that stays, since a new one for each commit
// has to grow its stack each time, and wakes another thread of the machine once more.
func (d *Driver) write() {
	for w := range d.writes {
		w.done <- d.end(w.tx)
	}
}

// end commits and gives up the turn.
func (d *Driver) end(tx *bbolt.Tx) error {
	err := d.finish(tx)
	<-d.turn
	return err
}

// decide carries out the batch in a transaction, which it returns if there is something to commit.
func (d *Driver) decide(batch []driver.Request) (responses []driver.Response, tx *bbolt.Tx, err error) {
	if d.broken != nil {
		return nil, nil, d.broken
	}
	changed, oneKey := false, false
	err = safely(d.path, "apply", func() (err error) {
		if tx, err = d.db.Begin(true); err != nil {
			return d.storeError("apply", err, "")
		}
		w := &work{tx: tx, keys: tx.Bucket(keysBucket), now: d.now(), session: d.session, opened: d.opened, path: d.path}
		responses, err = w.all(batch)
		oneKey = err != nil // the rest of the file goes on
		if err != nil || w.written == 0 {
			return err
		}
		changed = true
		var removed uint64
		if d.cursor, removed, err = sweep(w.keys, d.cursor, w.now, sweepAtLeast+sweepPerKey*w.written); err != nil {
			return err
		}
		return addToSum(tx, w.added-removed)
	})
	if err == nil && changed {
		return responses, tx, nil
	}
	if tx != nil {
		d.rollback(tx)
	}
	if errors.Is(err, ErrDamaged) && !oneKey {
		d.broken = err
	}
	return responses, nil, err
}

// rollback ends a transaction that is still open.
func (d *Driver) rollback(tx *bbolt.Tx) {
	_ = safely(d.path, "apply", tx.Rollback) // the error says that it has ended
}

// finish commits. When that fails, it finds out whether the transaction counts all the same.
func (d *Driver) finish(tx *bbolt.Tx) error {
	id := tx.ID()
	err := safely(d.path, "apply", func() error { return d.commit(tx) })
	if err == nil {
		return nil
	}
	d.rollback(tx)
	if !errors.Is(err, ErrDamaged) {
		err = d.storeError("apply", err, "free space on the disk, or see what the system says about it")
	}
	counts := true
	_ = safely(d.path, "apply", func() error {
		return d.db.View(func(tx *bbolt.Tx) error { counts = tx.ID() >= id; return nil })
	})
	if counts {
		// What was written may or may not be on the disk, and a sync that succeeds later no longer tells.
		d.broken = damaged(d.path, "apply", "a write failed half-way: "+err.Error())
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, d.broken)
	}
	if errors.Is(err, ErrDamaged) {
		d.broken = err
	}
	return err
}

// work is one batch.
type work struct {
	tx      *bbolt.Tx
	keys    *bbolt.Bucket
	now     bucket.Micros
	session uint64
	opened  bucket.Micros
	path    string
	written int    // keys that were put or deleted
	added   uint64 // to the sum over all values
}

// all applies the batch, key by key in the order in which the file holds them.
func (w *work) all(batch []driver.Request) ([]driver.Response, error) {
	n := 0
	order := make([]int, len(batch))
	for i := range batch {
		order[i] = i
		n += len(batch[i].Ops)
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(batch[a].Key, batch[b].Key) })
	results := make([]bucket.Result, n)
	responses := make([]driver.Response, len(batch))
	for len(order) > 0 {
		same := 1
		for same < len(order) && batch[order[same]].Key == batch[order[0]].Key {
			same++
		}
		for _, i := range order[:same] {
			ops := len(batch[i].Ops)
			responses[i].Results, results = results[:ops:ops], results[ops:]
		}
		if err := w.key(batch, responses, order[:same]); err != nil {
			return nil, err
		}
		order = order[same:]
	}
	return responses, nil
}

// key applies the requests of a batch that are on one key.
func (w *work) key(batch []driver.Request, responses []driver.Response, requests []int) error {
	name := batch[requests[0]].Key
	stored := storedKey(name)
	before := w.keys.Get(stored)
	held := before != nil
	var state bucket.State
	if held {
		r, err := parseRecord(stored, before)
		if err == nil {
			err = r.state(&state)
		}
		if err != nil {
			return storeError(w.path, "apply", fmt.Errorf("key %.60q: %w", name, err), "upgrade the program if a newer one wrote it; otherwise "+remedyDamaged)
		}
		if r.session != w.session {
			take(&state, w.opened)
		}
	}
	for _, i := range requests {
		r, res := &batch[i], &responses[i]
		if !held {
			state = bucket.State{}
		}
		state.Apply(w.now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, res.Results)
		res.Now, res.Absent, res.AbsentAt, res.Waiting = w.now, !held, state.AbsentAt(), len(state.Line)
		held = held || !state.Absent(w.now)
	}
	return w.store(stored, before, &state)
}

// store writes a state back, unless that changes nothing.
func (w *work) store(key, before []byte, state *bucket.State) error {
	var err error
	switch after := newRecord(key, w.session, state); {
	case before != nil && bytes.Equal(after[recordState:], before[recordState:]):
		return nil
	case !state.Absent(w.now):
		w.added += share(after) - share(before)
		err = w.keys.Put(key, after)
	case before == nil:
		return nil
	default:
		w.added -= share(before)
		err = w.keys.Delete(key)
	}
	if err != nil {
		return storeError(w.path, "apply", err, "")
	}
	w.written++
	return nil
}

// addToSum adds to the sum over all values, which lies on a page that every commit writes anyway.
func addToSum(tx *bbolt.Tx, added uint64) error {
	about := tx.Bucket(aboutBucket)
	return about.Put(sumKey, binary.BigEndian.AppendUint64(nil, statedSum(about.Get(sumKey))+added))
}

// statedSum is what the file says that the sum is. A file that nothing was written to says nothing.
func statedSum(value []byte) uint64 {
	if len(value) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// take takes over a state that an earlier process left. Nobody in its line is alive. If its time lies in the future, the
// machine's clock was set back in between: time has passed all the same, so it goes on from when the file was opened, with
// its levels as they are (see docs/decisions/0004-bolt-takes-over.md).
func take(s *bucket.State, opened bucket.Micros) {
	ops := make([]bucket.Op, 0, len(s.Line)+1)
	for i := range s.Line {
		ops = append(ops, bucket.Op{Kind: bucket.Leave, Place: s.Line[i].ID})
	}
	ops = append(ops, bucket.Op{Kind: bucket.Rebase})
	s.Apply(opened, &bucket.Request{Ops: ops}, make([]bucket.Result, len(ops)))
}
