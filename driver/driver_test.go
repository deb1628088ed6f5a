package driver_test

import (
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

func TestCheck(t *testing.T) {
	longest := driver.Request{Key: strings.Repeat("k", driver.MaxKey)}
	if err := driver.Check([]driver.Request{{}, longest}); err != nil {
		t.Errorf("the longest key: %v", err)
	}
	if err := driver.Check(nil); err != nil {
		t.Errorf("an empty batch: %v", err)
	}
	err := driver.Check([]driver.Request{{}, longest, {Key: longest.Key + "k"}})
	var tooLong *driver.KeyError
	if !errors.As(err, &tooLong) || tooLong.Len != driver.MaxKey+1 || !strings.Contains(err.Error(), "16384") {
		t.Errorf("a key that is too long: error %v, want a *KeyError that says how long one may be", err)
	}
}

func TestStoreError(t *testing.T) {
	err := error(&driver.StoreError{Driver: "bolt", Doing: "open", Remedy: "look elsewhere", Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("it doesn't match what it wraps")
	}
	if got, want := err.Error(), "driver/bolt: open: unexpected EOF: look elsewhere"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
	if got, want := (&driver.StoreError{Driver: "bolt", Doing: "apply", Err: io.EOF}).Error(), "driver/bolt: apply: EOF"; got != want {
		t.Errorf("text is %q, want %q", got, want)
	}
}

// TestFrees takes each operation through the arithmetic while somebody waits: wherever the waiter could be granted
// afterwards and not before, Frees must say so.
func TestFrees(t *testing.T) {
	l, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	if err != nil {
		t.Fatal(err)
	}
	const now = bucket.Micros(1e15)
	waiting := bucket.Op{Kind: bucket.Acquire, Cost: []float64{50}, Place: "waits", Grace: bucket.Day}
	ahead := bucket.Op{Kind: bucket.Acquire, Cost: []float64{90}, Place: "ahead", Grace: bucket.Day}
	record := func(units float64) bucket.Op { return bucket.Op{Kind: bucket.Record, Cost: []float64{units}} }
	for _, c := range []struct {
		name   string
		before []bucket.Op
		op     bucket.Op
		frees  bool
	}{
		{"a credit", []bucket.Op{record(100), waiting}, bucket.Op{Kind: bucket.Adjust, Cost: []float64{60}}, true},
		{"a place that is left", []bucket.Op{record(40), ahead, waiting}, bucket.Op{Kind: bucket.Leave, Place: "ahead"}, true},
		{"the end of a block", []bucket.Op{{Kind: bucket.Block, Span: bucket.Day}, waiting}, bucket.Op{Kind: bucket.Block}, true},
		{"a debit", []bucket.Op{record(100), waiting}, record(1), false},
		{"an acquire that is refused", []bucket.Op{record(100), waiting}, ahead, false},
		{"a look", []bucket.Op{record(100), waiting}, bucket.Op{Kind: bucket.Peek}, false},
		{"an operation that is invalid", []bucket.Op{record(100), waiting}, bucket.Op{Kind: bucket.Adjust, Cost: []float64{math.NaN()}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s bucket.State
			s.Apply(now, &bucket.Request{Limits: l, Ops: c.before}, make([]bucket.Result, len(c.before)))
			ready := func() (found bool) {
				s.Ready(now, func(place string) bool { found = found || place == "waits"; return true })
				return found
			}
			if ready() {
				t.Fatal("the waiter is ready before")
			}
			res := make([]bucket.Result, 1)
			s.Apply(now, &bucket.Request{Limits: l, Ops: []bucket.Op{c.op}}, res)
			if got := driver.Frees(&c.op, &res[0]); got != c.frees {
				t.Errorf("Frees is %v, want %v", got, c.frees)
			}
			if ready() != c.frees {
				t.Errorf("the waiter is ready: %v, want %v", ready(), c.frees)
			}
		})
	}
}

func TestNamer(t *testing.T) {
	n := driver.NewNamer()
	a, b := n.Take(), n.Take()
	client := func(name driver.Name) string {
		at := strings.LastIndexByte(name.String(), '/')
		if at < 0 {
			t.Fatalf("name %q has no client", name)
		}
		return name.String()[:at]
	}
	if client(a) == client(b) {
		t.Errorf("two batches under way have one client: %s and %s", a, b)
	}
	a.Done()
	c := n.Take()
	if client(c) != client(a) || c.String() == a.String() {
		t.Errorf("after %s is done the next name is %s, want the same client with another number", a, c)
	}
	b.Done()
	c.Done()
	if other := driver.NewNamer().Take(); client(other) == client(a) {
		t.Errorf("two namers give the client %q", client(a))
	}
	if !bucket.ValidName(a.String()) || len(a.String()) > 64 {
		t.Errorf("%q is no name for a batch", a)
	}
}

// TestNamerConcurrently sees that no name is given twice, and no client to two at a time.
func TestNamerConcurrently(t *testing.T) {
	n := driver.NewNamer()
	var mu sync.Mutex
	names, clients := map[string]bool{}, map[string]bool{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				name := n.Take()
				client, _, _ := strings.Cut(name.String(), "/")
				mu.Lock()
				if names[name.String()] || clients[client] {
					t.Errorf("name %q or its client is given twice", name)
				}
				names[name.String()], clients[client] = true, true
				mu.Unlock()

				mu.Lock()
				delete(clients, client)
				mu.Unlock()
				name.Done()
			}
		})
	}
	all.Wait()
	used := map[string]bool{}
	for name := range names {
		client, _, _ := strings.Cut(name, "/")
		used[client] = true
	}
	if len(used) > 8 {
		t.Errorf("%d clients for eight goroutines: names that are done aren't used again", len(used))
	}
}
