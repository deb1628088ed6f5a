package bolt

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// What a sweep removes is taken out of the file's sum too: opened again, the file is whole.
func TestSumAfterSweeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Second})
	var clock testClock
	now := bucket.At(testEpoch)
	clock.set.Store(int64(now))
	d := mustOpen(t, path, &Options{Clock: clock.now})
	for round := range 3 {
		for i := range 20 {
			mustApply(t, d, driver.Request{Key: fmt.Sprint(round, i), Limits: l, Ops: []bucket.Op{recorded(50)}})
		}
		now += bucket.Minute // all of them are full again: the next round sweeps them
		clock.set.Store(int64(now))
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = mustOpen(t, path, &Options{Clock: clock.now})
	mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(1)}})
}
