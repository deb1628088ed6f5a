package bolt

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
)

// testClock is the machine's until it is set.
type testClock struct{ set atomic.Int64 }

func (c *testClock) now() bucket.Micros {
	if now := c.set.Load(); now != 0 {
		return bucket.Micros(now)
	}
	return bucket.At(time.Now())
}

func TestConformance(t *testing.T) {
	var mu sync.Mutex
	clocks := map[string]*testClock{} // by path: it outlives a Driver
	openAt := func(tb testing.TB, path string) driver.Driver {
		mu.Lock()
		defer mu.Unlock()
		if clocks[path] == nil {
			clocks[path] = &testClock{}
		}
		d, err := Open(path, &Options{Clock: clocks[path].now})
		if err != nil {
			tb.Fatal(err)
		}
		return d
	}
	conformance.Run(t,
		func(tb testing.TB) driver.Driver { return openAt(tb, filepath.Join(tb.TempDir(), "limits.db")) },
		&conformance.Options{
			Reopen: func(tb testing.TB, d driver.Driver) driver.Driver { return openAt(tb, d.(*Driver).path) },
			SetClock: func(_ testing.TB, d driver.Driver, now bucket.Micros) {
				mu.Lock()
				defer mu.Unlock()
				clocks[d.(*Driver).path].set.Store(int64(now))
			},
			Faults: []conformance.Fault{
				{Name: "a sync that hangs", Inject: injectHang},
				{Name: "a disk that is slow", Inject: injectSlow},
			},
			Alone:    true,
			Complete: true,
		})
}

// replace makes d commit in another way until restore is called.
func replace(d *Driver, commit func(*bbolt.Tx) error) (restore func()) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	was := d.commit
	d.commit = commit
	return func() {
		d.turn <- struct{}{}
		defer func() { <-d.turn }()
		d.commit = was
	}
}

// injectHang lets each commit hang until the fault is over.
func injectHang(_ testing.TB, d driver.Driver) (end func()) {
	over := make(chan struct{})
	restore := replace(d.(*Driver), func(tx *bbolt.Tx) error {
		<-over
		return tx.Commit()
	})
	return func() {
		close(over)
		restore()
	}
}

// injectSlow lets each commit take its time before or after the work is done.
func injectSlow(_ testing.TB, d driver.Driver) (end func()) {
	n := 0
	return replace(d.(*Driver), func(tx *bbolt.Tx) error {
		n++
		if n%2 == 0 {
			time.Sleep(30 * time.Millisecond) // what is tested is a sync that takes this long
			return tx.Commit()
		}
		err := tx.Commit()
		time.Sleep(30 * time.Millisecond)
		return err
	})
}

// More keys than one page has are listed once each, and none of a closed file.
func TestKeysOverPages(t *testing.T) {
	d := mustOpen(t, filepath.Join(t.TempDir(), "limits.db"), nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	for _, n := range []int{page, 2*page + 1} { // a full page, and some
		var batch []driver.Request
		for i := range n {
			batch = append(batch, driver.Request{Key: fmt.Sprint("key", i), Limits: l, Ops: []bucket.Op{recorded(1)}})
		}
		mustApply(t, d, batch...)
		seen := map[string]int{}
		for key, err := range d.Keys(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			seen[key]++
		}
		for _, r := range batch {
			if seen[r.Key] != 1 {
				t.Errorf("of %d keys, %s is listed %d times", n, r.Key, seen[r.Key])
			}
		}
		if len(seen) != n {
			t.Errorf("%d keys are listed, want %d", len(seen), n)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for key, err := range d.Keys(t.Context()) {
		if err != driver.ErrClosed {
			t.Errorf("of a closed file: %q, %v, want driver.ErrClosed", key, err)
		}
	}
}
