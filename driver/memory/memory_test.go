package memory

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

func perHour(t *testing.T, units float64) *bucket.Limits {
	t.Helper()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "requests", Limit: units, Per: bucket.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// whenReady makes a key whose one unit is taken and whose line holds the place "w", and returns what gives the unit back.
func whenReady(t *testing.T, d *Driver) (release *driver.Request) {
	t.Helper()
	limits := perHour(t, 1)
	r := driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{
		{Kind: bucket.Acquire, Cost: []float64{1}},
		{Kind: bucket.Acquire, Cost: []float64{1}, Place: "w", Grace: bucket.Minute},
	}}
	if _, err := d.Apply(t.Context(), []driver.Request{r}); err != nil {
		t.Fatal(err)
	}
	return &driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Adjust, Cost: []float64{1}}}}
}

// However capacity is freed, whoever waits for it is told.
func TestEveryWayTells(t *testing.T) {
	for name, key := range map[string]func(*Driver) way{
		"Apply":                   func(d *Driver) way { return named(d, "k") },
		"Pin":                     func(d *Driver) way { return pinned(d, d.Pin("k")) },
		"Pin made before the key": nil,
	} {
		d := New()
		early := d.Pin("k")
		release := whenReady(t, d)
		apply := pinned(d, early)
		if key != nil {
			apply = key(d)
		}
		told := ""
		stop, err := d.Notify(t.Context(), func(key, place string) { told += key + "/" + place })
		if err != nil {
			t.Fatal(err)
		}
		if err := apply(release.Limits, &release.Ops[0], new(bucket.Result)); err != nil {
			t.Fatal(err)
		}
		if told != "k/w" {
			t.Errorf("%s: told %q, want k/w", name, told)
		}
		stop()
	}
}

// Nobody is told after stop has returned, though it be in the midst of telling.
func TestStopIsAtOnce(t *testing.T) {
	d := New()
	release := whenReady(t, d)
	var stop func()
	first, err := d.Notify(t.Context(), func(string, string) { stop() })
	if err != nil {
		t.Fatal(err)
	}
	defer first()
	told := 0
	if stop, err = d.Notify(t.Context(), func(string, string) { told++ }); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), []driver.Request{*release}); err != nil {
		t.Fatal(err)
	}
	if told > 0 {
		t.Error("told after it had stopped")
	}
}

// What a closed driver refuses it hasn't done: the outcome is known.
func TestClosedDidNothing(t *testing.T) {
	d := New()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: perHour(t, 1), Ops: []bucket.Op{{Kind: bucket.Peek}}}})
	if !errors.Is(err, driver.ErrClosed) || errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want driver.ErrClosed alone", err)
	}
	if _, err := d.Notify(t.Context(), func(string, string) {}); err != driver.ErrClosed {
		t.Errorf("Notify: error %v, want driver.ErrClosed", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New().Notify(ended, func(string, string) {}); err != context.Canceled {
		t.Errorf("Notify with a ctx that has ended: error %v, want context.Canceled", err)
	}
}

func TestURL(t *testing.T) {
	d, err := driver.Open(t.Context(), "memory://")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"memory://host", "memory:///path", "memory:opaque", "memory://?option=1"} {
		if _, err := driver.Open(t.Context(), url); err == nil {
			t.Errorf("%s was opened", url)
		}
	}
}

// The next sweep comes after so many operations for each key that was left, and never after fewer than the least.
func TestSweepsAreFar(t *testing.T) {
	d := New()
	limits := perHour(t, 10)
	s := &d.shards[0]
	for _, keys := range []int{0, 1, 3 * least / each} {
		for i := range keys {
			c := d.newCell(s, fmt.Sprint(i))
			c.state.Apply(1, &bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1}}}}, make([]bucket.Result, 1))
			s.cells[c.key] = c
		}
		s.sweep(1)
		if got, want := s.until.Load(), int64(max(least, each*keys)); got != want {
			t.Errorf("with %d keys the next sweep comes after %d operations, want %d", keys, got, want)
		}
	}
}

func TestLenAndAllocations(t *testing.T) {
	d := New()
	limits := perHour(t, 10)
	const keys = 5
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprint("key ", i)
		if i < keys {
			debit(t, limits, pinned(d, d.Pin(names[i])))
		}
	}
	if d.Len() != keys {
		t.Errorf("Len is %d with %d keys held", d.Len(), keys)
	}
	// A new key is one cell, with room for its buckets, and its part of a map: the buckets are not allocated apart.
	cost := []float64{1}
	i := keys
	allocs := testing.AllocsPerRun(1000, func() {
		op, res := bucket.Op{Kind: bucket.Acquire, Cost: cost}, bucket.Result{}
		pin := d.Pin(names[i])
		i++
		if err := driver.Do(d, pin, limits, &op, &res); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 {
		t.Errorf("a new key takes %v allocations, want the one cell (and now and then a larger map)", allocs)
	}
}
