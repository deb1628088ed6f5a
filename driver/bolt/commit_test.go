package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// commits counts d's commits.
func commits(d *Driver) *int {
	n := new(int)
	d.commit = func(tx *bbolt.Tx) error { *n++; return tx.Commit() }
	return n
}

func TestNothingChangedNothingWritten(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "limits.db"), nil)
	n := commits(d)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 10, Per: bucket.Day})
	apply := func(key string, ops ...bucket.Op) {
		mustApply(t, d, driver.Request{Key: key, Limits: l, Ops: ops})
	}
	acquire := func(cost float64) bucket.Op { return bucket.Op{Kind: bucket.Acquire, Cost: []float64{cost}} }

	apply("k", bucket.Op{Kind: bucket.Peek})
	apply("k", acquire(11))
	apply("k", acquire(-1))
	apply("k", acquire(0))
	apply("k", recorded(3), bucket.Op{Kind: bucket.Adjust, Cost: []float64{3}}) // a key that is full again was never there
	if *n != 0 {
		t.Errorf("%d commits for a key that stays full, want 0", *n)
	}
	apply("k", acquire(10))
	if *n != 1 {
		t.Errorf("%d commits after an acquire, want 1", *n)
	}
	apply("k", acquire(10))
	apply("k", bucket.Op{Kind: bucket.Peek}, acquire(11), acquire(5), bucket.Op{Kind: bucket.Leave, Place: "nobody"})
	mustApply(t, d)
	if *n != 1 {
		t.Errorf("%d commits after acquires that were refused, want 1 as before", *n)
	}
	mustApply(t, d, driver.Request{Key: "a", Limits: l, Ops: []bucket.Op{recorded(1)}}, driver.Request{Key: "b", Limits: l, Ops: []bucket.Op{recorded(1)}}, driver.Request{Key: "a", Limits: l, Ops: []bucket.Op{recorded(1)}})
	if *n != 2 {
		t.Errorf("%d commits after a batch of three, want 2", *n)
	}
}

// A key that is absent begins anew with each request, within a batch as between two: what the one before it had its
// buckets called doesn't show.
func TestAbsentWithinABatch(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "limits.db"), nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 10, Per: bucket.Day})
	peek := []bucket.Op{{Kind: bucket.Peek}}
	responses := mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: peek}, driver.Request{Key: "k", Ops: peek})
	if got := responses[1]; !got.Absent || len(got.Results[0].State.Buckets) > 0 {
		t.Errorf("absent %v, with buckets %+v: want an absent key, which has none", got.Absent, got.Results[0].State.Buckets)
	}
}

// TestContextBehindSync ends contexts of those who wait for a sync: the one whose own it is can't know, the one behind
// it can.
func TestContextBehindSync(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "limits.db"), nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	syncing, goOn := make(chan struct{}), make(chan struct{})
	replace(d, func(tx *bbolt.Tx) error {
		close(syncing)
		<-goOn
		return tx.Commit()
	})
	batch := func() []driver.Request {
		return []driver.Request{{Key: "k", Limits: l, Ops: []bucket.Op{recorded(1)}}}
	}
	first, endFirst := context.WithCancel(t.Context())
	outcome := make(chan error)
	go func() {
		_, err := d.Apply(first, batch())
		outcome <- err
	}()
	<-syncing
	second, endSecond := context.WithTimeout(t.Context(), time.Millisecond)
	defer endSecond()
	if _, err := d.Apply(second, batch()); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("behind a sync: error %v, want ctx's, and no doubt that nothing was applied", err)
	}
	endFirst()
	if err := <-outcome; !errors.Is(err, context.Canceled) || !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("while the file is synced: error %v, want one that matches ctx's and ErrUnknownOutcome", err)
	}
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	<-d.closing
	if _, err := d.Apply(t.Context(), batch()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("while Close waits: error %v, want ErrClosed", err)
	}
	close(goOn)
	if err := <-closed; err != nil {
		t.Error(err)
	}

	d = mustOpen(t, d.path, nil)
	if got := level(t, d, "k", l); got < 99 || got > 99.1 {
		t.Errorf("level is %v, want 99: the first request was under way when Close was called, the second was never applied", got)
	}
}

// TestWriteFails takes the file away from under bbolt, so that writes fail before anything counts.
func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	d := mustOpen(t, path, nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	request := driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(10)}}
	mustApply(t, d, request)

	noSpace := errors.New("no space left")
	restore := replace(d, func(*bbolt.Tx) error { return noSpace })
	_, err := d.Apply(t.Context(), []driver.Request{request})
	var store *driver.StoreError
	if !errors.As(err, &store) || !errors.Is(err, noSpace) || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want a *driver.StoreError that is sure that nothing was applied", err)
	}
	restore()
	if got := level(t, d, "k", l); got < 90 || got > 90.1 {
		t.Errorf("after a failed write the level is %v, want 90", got)
	}
	mustApply(t, d, request) // the disk has room again
	if got := level(t, d, "k", l); got < 80 || got > 80.1 {
		t.Errorf("the level is %v, want 80", got)
	}
}

// TestSyncFails lets the write succeed and the sync fail: nobody can know what is on the disk then.
func TestSyncFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	d := mustOpen(t, path, nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	request := driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(10)}}
	failed := errors.New("input/output error")
	replace(d, func(tx *bbolt.Tx) error { return errors.Join(tx.Commit(), failed) })
	if _, err := d.Apply(t.Context(), []driver.Request{request}); !errors.Is(err, driver.ErrUnknownOutcome) || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), failed.Error()) {
		t.Errorf("error %v, want one that matches ErrUnknownOutcome and ErrDamaged, and says %q", err, failed)
	}
	for range 2 {
		if _, err := d.Apply(t.Context(), []driver.Request{request}); !errors.Is(err, ErrDamaged) || errors.Is(err, driver.ErrUnknownOutcome) {
			t.Errorf("afterwards: error %v, want one that matches ErrDamaged alone", err)
		}
	}
}

// TestFileTakenAway cuts the file while it is open, which faults where it is mapped.
func TestFileTakenAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	d := mustOpen(t, path, nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	var batch []driver.Request
	for i := range 500 {
		batch = append(batch, driver.Request{Key: fmt.Sprint("key-", i), Limits: l, Ops: []bucket.Op{recorded(10)}})
	}
	mustApply(t, d, batch...)
	if err := os.Truncate(path, 3*4096); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := d.Apply(t.Context(), batch); !errors.Is(err, ErrDamaged) {
			t.Errorf("error %v, want one that matches ErrDamaged", err)
		}
	}
	for _, err := range d.Keys(t.Context()) {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("Keys: error %v, want one that matches ErrDamaged", err)
		}
	}
}

// TestBadValue leaves a value that no version of the program wrote.
func TestBadValue(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "limits.db"), nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	later := strings.Repeat("\x7f", recordState)
	values := map[string]string{"short": "x", "no checksum": later + "{}", "no JSON": later + "x", "newer": later + `{"version":99}`}
	err := d.db.Update(func(tx *bbolt.Tx) error {
		for key, value := range values {
			value := []byte(value)
			if key != "short" && key != "no checksum" {
				binary.BigEndian.PutUint32(value, checksum(storedKey(key), value))
			}
			if err := tx.Bucket(keysBucket).Put(storedKey(key), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range values {
		_, err := d.Apply(t.Context(), []driver.Request{{Key: "good", Limits: l, Ops: []bucket.Op{recorded(1)}}, {Key: key, Limits: l, Ops: []bucket.Op{recorded(1)}}})
		var store *driver.StoreError
		if !errors.As(err, &store) || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
			t.Errorf("error %v, want a *driver.StoreError that names the key %q", err, key)
		}
		var version *bucket.VersionError
		if errors.As(err, &version) != (key == "newer") || errors.Is(err, ErrDamaged) == (key == "newer") {
			t.Errorf("key %q: error %v", key, err)
		}
	}
	// The rest goes on, and nothing of those batches was applied.
	if got := level(t, d, "good", l); got != 100 {
		t.Errorf("level is %v, want 100", got)
	}
}
