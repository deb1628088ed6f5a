package memory

import (
	"fmt"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// do carries out an operation on a pinned key.
func do(t *testing.T, d *Driver, p driver.Pinned, l *bucket.Limits, op bucket.Op) bucket.Result {
	t.Helper()
	var res bucket.Result
	if err := driver.Do(d, p, l, &op, &res); err != nil {
		t.Fatal(err)
	}
	return res
}

// A sweep comes with the very operation that it is due at: the 64th key of a shard.
func TestSweepComesWhenItIsDue(t *testing.T) {
	now := bucket.At(time.Now())
	d := New(WithClock(func() bucket.Micros { return now }))
	limits := perHour(t, 3600)
	held := &d.shards[0]
	added := 0
	for i := 0; added < least/each; i++ {
		key := fmt.Sprint("key-", i)
		if d.shard(key) != held {
			continue
		}
		if added++; added == least/each {
			now += bucket.Hour // all others are full again
		}
		do(t, d, d.Pin(key), limits, bucket.Op{Kind: bucket.Record, Cost: []float64{1}})
	}
	if len(held.cells) != 1 {
		t.Errorf("%d keys are held once a sweep is due, want the newest alone", len(held.cells))
	}
}

// A place that has become ready by itself polls by itself: only what frees something tells of it.
func TestNobodyIsToldInVain(t *testing.T) {
	now := bucket.At(time.Now())
	d := New(WithClock(func() bucket.Micros { return now }))
	release := whenReady(t, d)
	told := 0
	stop, err := d.Notify(t.Context(), func(string, string) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	now += bucket.Hour
	p := d.Pin("k")
	do(t, d, p, release.Limits, bucket.Op{Kind: bucket.Peek})
	if told != 0 {
		t.Errorf("told %d times by a look, want none", told)
	}
	do(t, d, p, release.Limits, release.Ops[0])
	if told != 1 {
		t.Errorf("told %d times once something was given back, want once", told)
	}
}

// A key that was dropped begins anew also for who pinned it before: its state, which lies in the future once the clock
// was set back, is gone.
func TestADroppedKeyBeginsAnew(t *testing.T) {
	now := bucket.At(time.Now())
	d := New(WithClock(func() bucket.Micros { return now }))
	limits := perHour(t, 3600)
	p := d.Pin("k")
	do(t, d, p, limits, bucket.Op{Kind: bucket.Record, Cost: []float64{3600}})
	now += bucket.Hour
	s := d.shard("k")
	s.mu.Lock()
	s.sweep(now)
	s.mu.Unlock()
	if d.Len() != 0 {
		t.Fatal("the key is still held")
	}
	now -= 2 * bucket.Hour
	do(t, d, p, limits, bucket.Op{Kind: bucket.Record, Cost: []float64{3600}})
	now += bucket.Second
	if res := do(t, d, p, limits, bucket.Op{Kind: bucket.Acquire, Cost: []float64{1}}); res.Status != bucket.Granted {
		t.Errorf("a second later one of 3,600 an hour is %v: the key goes on in the future", res.Status)
	}
}

// What stopped is forgotten, not only left alone.
func TestStoppedWatchersAreForgotten(t *testing.T) {
	d := New()
	for range 3 {
		stop, err := d.Notify(t.Context(), func(string, string) {})
		if err != nil {
			t.Fatal(err)
		}
		stop()
	}
	if n := len(*d.watchers.Load()); n != 0 {
		t.Errorf("%d watchers are kept, want none", n)
	}
}
