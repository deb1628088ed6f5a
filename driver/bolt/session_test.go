package bolt

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// TestLineEndsWithItsProcess leaves a line behind: those in it are dead, and what they protected is free.
func TestLineEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Day})
	place := func(name string, cost float64) bucket.Op {
		return bucket.Op{Kind: bucket.Acquire, Cost: []float64{cost}, Place: name, Flow: name, Poll: bucket.Day}
	}
	acquire := bucket.Op{Kind: bucket.Acquire, Cost: []float64{5}}
	d := mustOpen(t, path, nil)
	r := mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(90), place("a", 50), place("b", 60), acquire}})
	if r[0].Waiting != 2 || r[0].Results[3].Status != bucket.Refused {
		t.Fatalf("%d wait, and an acquire behind them is %v", r[0].Waiting, r[0].Results[3].Status)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	d = mustOpen(t, path, nil)
	r = mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{{Kind: bucket.Peek}, acquire, place("c", 50)}})
	s := r[0].Results[0].State
	if len(s.Line) != 0 || len(s.Flows) != 0 || s.Virtual != 0 {
		t.Errorf("opened again, the line is %+v, with the tags %+v", s.Line, s.Flows)
	}
	if r[0].Results[1].Status != bucket.Granted {
		t.Errorf("an acquire that nobody is in the way of is %v", r[0].Results[1].Status)
	}
	// Those of this process stay.
	if r = mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{acquire}}); r[0].Waiting != 1 || r[0].Results[0].Status != bucket.Refused {
		t.Errorf("%d wait, and an acquire behind them is %v, want 1 and %v", r[0].Waiting, r[0].Results[0].Status, bucket.Refused)
	}
}

// TestClockSetBackBetweenProcesses has a process whose clock is a day ahead, and one whose clock is right.
func TestClockSetBackBetweenProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 100, Per: bucket.Hour})
	var clock testClock
	right := bucket.At(testEpoch)

	clock.set.Store(int64(right + bucket.Day))
	d := mustOpen(t, path, &Options{Clock: clock.now})
	mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(100)}}, driver.Request{Key: "blocked", Limits: l, Ops: []bucket.Op{{Kind: bucket.Block, Span: bucket.Hour}}})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0, 25, 50} {
		clock.set.Store(int64(right + bucket.Micros(i)*bucket.Hour/4))
		d = mustOpen(t, path, &Options{Clock: clock.now})
		if got := level(t, d, "k", l); got != want {
			t.Errorf("%d quarters of an hour after the clock was set right, the level is %v, want %v", i, got, want)
		}
		s := mustApply(t, d, driver.Request{Key: "blocked", Ops: []bucket.Op{{Kind: bucket.Peek}}})[0].Results[0].State
		if s.Blocked != right+bucket.Hour {
			t.Errorf("blocked until %d, want %d", s.Blocked, right+bucket.Hour)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Within a process the clock that goes back is a stale now, and refills nothing.
	clock.set.Store(int64(right + bucket.Hour/2))
	d = mustOpen(t, path, &Options{Clock: clock.now})
	mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{recorded(0)}})
	for _, back := range []bucket.Micros{0, bucket.Hour, 0, bucket.Minute, 0} {
		clock.set.Store(int64(right + bucket.Hour/2 - back))
		if got := level(t, d, "k", l); got != 50 {
			t.Errorf("the clock went back and forth by %d µs, the level is %v, want 50", back, got)
		}
	}
}

// held counts the keys in the file, expired ones too.
func held(t *testing.T, d *Driver) (n int) {
	t.Helper()
	if err := d.db.View(func(tx *bbolt.Tx) error { n = tx.Bucket(keysBucket).Stats().KeyN; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestExpiredKeysGo uses ever new keys: the file keeps about as many as are not full yet, and space is used again.
func TestExpiredKeysGo(t *testing.T) {
	var clock testClock
	path := filepath.Join(t.TempDir(), "limits.db")
	d := mustOpen(t, path, &Options{Clock: clock.now})
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 10, Per: bucket.Minute})
	now := bucket.At(testEpoch)
	clock.set.Store(int64(now))
	mustApply(t, d, driver.Request{Key: "stays", Limits: l, Ops: []bucket.Op{recorded(1e6)}})

	const live, rounds = 200, 60
	most, early := 0, int64(0)
	for round := range rounds {
		var batch []driver.Request
		for i := range live {
			batch = append(batch, driver.Request{Key: fmt.Sprintf("%x-%d", (round*live+i)*7919%65536, round), Limits: l, Ops: []bucket.Op{recorded(5)}})
		}
		mustApply(t, d, batch...)
		now += bucket.Minute // all of them are full by then
		clock.set.Store(int64(now))
		most = max(most, held(t, d))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		switch round {
		case rounds / 2:
			early = info.Size()
		case rounds - 1:
			if info.Size() > early {
				t.Errorf("the file grew from %d to %d bytes though the number of keys didn't", early, info.Size())
			}
		}
	}
	if most > 3*live {
		t.Errorf("up to %d keys were held where %d were alive", most, live)
	}
	// A lone hot key sweeps up the rest, little by little.
	for i := 0; held(t, d) > 1; i++ {
		if i > 3*live {
			t.Fatalf("after %d more commits, %d keys are held, want 1", i, held(t, d))
		}
		mustApply(t, d, driver.Request{Key: "stays", Limits: l, Ops: []bucket.Op{recorded(1)}})
	}
	if r := mustApply(t, d, driver.Request{Key: "stays"}); r[0].Absent {
		t.Error("a key in debt was removed")
	}
}
