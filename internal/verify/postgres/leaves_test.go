package postgres

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// An Apply leaves nothing behind that waits for its time to be up: no timer, no context, no goroutine that sees to it.
// With an hour for each, what is left stays.
func TestApplyLeavesNothing(t *testing.T) {
	tab := newTable(t)
	tab.options.Timeout = time.Hour
	tab.options.PruneEvery = -1
	d := tab.open(nil)
	l := still(1e6)
	use := func(times int) {
		t.Helper()
		for range times {
			if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: l, Ops: ops(bucket.Op{Kind: bucket.Record, Cost: []float64{1}})}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	live := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapObjects)
	}
	created := func() int {
		s := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
		metrics.Read(s)
		if s[0].Value.Kind() != metrics.KindUint64 {
			return 0 // a Go before 1.26
		}
		return int(s[0].Value.Uint64())
	}
	use(50)
	const times = 400
	objects, goroutines := live(), created()
	use(times)
	goroutines = created() - goroutines
	objects = live() - objects
	t.Logf("%d Applies left %d objects and started %d goroutines", times, objects, goroutines)
	if objects > times/2 {
		t.Errorf("%d Applies left %d objects, want fewer than one each", times, objects)
	}
	if goroutines > times/2 {
		t.Errorf("%d Applies started %d goroutines, want none", times, goroutines)
	}
}
