package postgres

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// awaitNotification lets somebody wait at listener, and giver give back, until listener hears of it. It returns how long
// the last one took.
func awaitNotification(t *testing.T, listener, giver *postgres.Notifying) time.Duration {
	t.Helper()
	heard := make(chan string, 100)
	stop, err := listener.Notify(t.Context(), func(key, place string) { heard <- key + " " + place })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	return makeRoom(t, giver, heard)
}

func makeRoom(t *testing.T, giver driver.Driver, heard <-chan string) time.Duration {
	t.Helper()
	l := still(100)
	const key = "k\x00\nk"
	apply := func(o ...bucket.Op) {
		if _, err := giver.Apply(t.Context(), []driver.Request{{Key: key, Limits: l, Ops: o}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		apply(bucket.Op{Kind: bucket.Leave, Place: "p"}, adjust(1000), record(100),
			bucket.Op{Kind: bucket.Acquire, Cost: []float64{20}, Place: "p", Poll: bucket.Hour, Grace: bucket.Hour})
		start := time.Now()
		apply(adjust(100))
		select {
		case got := <-heard:
			if got != key+" p" {
				t.Errorf("heard of %q, want %q", got, key+" p")
			}
			return time.Since(start)
		case <-time.After(time.Second): // it may have been missed
		}
	}
	t.Fatal("room was made ten times, and nobody was told")
	return 0
}

// What one process gives back, another that waits hears of promptly.
func TestNotifyIsPrompt(t *testing.T) {
	tab := newTable(t)
	open := func() *postgres.Notifying {
		n, err := postgres.NewNotifying(t.Context(), tab.pool(nil), &tab.options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	listener, giver := open(), open()
	heard := make(chan string, 100)
	stop, err := listener.Notify(t.Context(), func(key, place string) { heard <- key + " " + place })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var took []time.Duration
	for range 50 {
		took = append(took, makeRoom(t, giver, heard))
	}
	slices.Sort(took)
	t.Logf("from before the credit to the call: median %v, 90th percentile %v", took[25], took[45])
	if took[25] > 50*time.Millisecond {
		t.Errorf("half of the calls came later than %v after the credit was asked for, want 50 ms", took[25])
	}
}

// A listener whose connection is lost connects again.
func TestNotifyAfterLoss(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTableAt(t, url, postgres.Options{})
	p := newProxy(t, hostOf(t, url))
	options := tab.options
	options.Listen = tab.pool(p.through).Config().ConnConfig
	listener, err := postgres.NewNotifying(t.Context(), tab.pool(nil), &options)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	heard := make(chan string, 100)
	stop, err := listener.Notify(t.Context(), func(key, place string) { heard <- key + " " + place })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for range 3 {
		makeRoom(t, listener, heard)
		p.cutAll()
	}
	makeRoom(t, listener, heard)
}

// Listening ends with the driver, and after it there is no more.
func TestNotifyClosed(t *testing.T) {
	tab := newTable(t)
	n, err := postgres.NewNotifying(t.Context(), tab.pool(func(c *pgxpool.Config) {}), &tab.options)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := n.Notify(t.Context(), func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	if _, err := n.Notify(t.Context(), func(string, string) {}); err != driver.ErrClosed {
		t.Errorf("Notify after Close: error %v, want driver.ErrClosed", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	open, err := postgres.NewNotifying(t.Context(), tab.pool(nil), &tab.options)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.Notify(ended, func(string, string) {}); err != context.Canceled {
		t.Errorf("Notify with a ctx that has ended: error %v, want context.Canceled", err)
	}
}
