package memory

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// debit takes one unit of a quota of ten through apply and returns what became of it.
func debit(t *testing.T, limits *bucket.Limits, way way) bucket.Status {
	t.Helper()
	op, res := bucket.Op{Kind: bucket.Acquire, Cost: []float64{1}}, bucket.Result{}
	if err := way(limits, &op, &res); err != nil {
		t.Fatal(err)
	}
	return res.Status
}

// way is one of the ways to do an operation on a key.
type way func(*bucket.Limits, *bucket.Op, *bucket.Result) error

func pinned(d *Driver, p driver.Pinned) way {
	return func(l *bucket.Limits, o *bucket.Op, res *bucket.Result) error { return driver.Do(d, p, l, o, res) }
}

func named(d *Driver, key string) way {
	return func(l *bucket.Limits, o *bucket.Op, res *bucket.Result) error {
		responses, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: l, Ops: []bucket.Op{*o}}})
		if err == nil {
			*res = responses[0].Results[0]
		}
		return err
	}
}

// However a key is reached, by name or by any of its pins, made before or after the state was forgotten, it is one key.
func TestPinsOfAKeyShareIt(t *testing.T) {
	now := bucket.Micros(1)
	d := New(WithClock(func() bucket.Micros { return now }))
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "requests", Limit: 10, Per: bucket.Minute})
	if err != nil {
		t.Fatal(err)
	}
	early, other := d.Pin("k"), d.Pin("k")
	ways := []way{pinned(d, early), pinned(d, other), named(d, "k")}
	for round := range 3 {
		granted := 0
		for i := range 15 {
			if debit(t, limits, ways[(i+round)%len(ways)]) == bucket.Granted {
				granted++
			}
		}
		if granted != 10 {
			t.Fatalf("round %d: %d granted over all ways, want the ten of one bucket", round, granted)
		}
		now += bucket.Minute // full again: forgotten at the next sweep
		s := d.shard("k")
		s.mu.Lock()
		s.sweep(now)
		s.mu.Unlock()
		if n := d.Len(); n != 0 {
			t.Fatalf("round %d: %d keys held after the refill, want none", round, n)
		}
		ways = append(ways, pinned(d, d.Pin("k")))
	}
}

func TestPinOfAClosedDriver(t *testing.T) {
	d := New()
	p := d.Pin("k")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds nothing locked
		if err := driver.Do(d, p, nil, &bucket.Op{Kind: bucket.Peek}, new(bucket.Result)); err != driver.ErrClosed {
			t.Errorf("error %v after Close, want driver.ErrClosed", err)
		}
	}
}

// Keys that are used once each must not pile up, and pins of keys that are swept while others use them must stay right.
// Run with -race.
func TestSweepsBesideUse(t *testing.T) {
	d := New()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Second})
	if err != nil {
		t.Fatal(err)
	}
	const goroutines, keys = 4, 20_000
	var work sync.WaitGroup
	for g := range goroutines {
		work.Go(func() {
			shared := d.Pin("shared")
			for i := range keys {
				debit(t, limits, named(d, fmt.Sprint(g, " ", i)))
				debit(t, limits, pinned(d, shared))
			}
		})
	}
	work.Wait()
	if n := d.Len(); n > goroutines*keys/2 {
		t.Errorf("%d keys held, of %d that were used once and are full again: they are not swept", n, goroutines*keys)
	}
}
