package bolt

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// TestDamage cuts a file and flips its bytes, at random places. Whatever comes of it, there is no panic and no hang, a
// file is never made anew, and no level is another than it was without a word.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "whole.db")
	d := mustOpen(t, path, nil)
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Day})
	var batch []driver.Request
	for i := range 400 {
		batch = append(batch, driver.Request{Key: strings.Repeat("k", i), Limits: l, Ops: []bucket.Op{recorded(500)}})
	}
	mustApply(t, d, batch...)
	mustApply(t, d, batch[0])
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	refused := 0
	for i := range 150 {
		content := append([]byte{}, whole...)
		if i%3 == 0 {
			content = content[:1+r.IntN(len(content)-1)]
		} else {
			at := r.IntN(len(content))
			if i%2 == 0 {
				at = at / 4096 * 4096 // the header of a page
				at += r.IntN(80)
			}
			for range 1 + r.IntN(16) {
				content[(at+r.IntN(8))%len(content)] ^= byte(1 + r.IntN(255))
			}
		}
		damagedPath := filepath.Join(t.TempDir(), "damaged.db")
		if err := os.WriteFile(damagedPath, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(damagedPath, nil)
		if err != nil {
			refused++
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) && !errors.Is(err, ErrFormat) {
				t.Errorf("seed %d, round %d: Open: error %v, want one that matches ErrDamaged, ErrForeign or ErrFormat", seed, i, err)
			}
			continue
		}
		for n, q := range append(batch, driver.Request{Key: "new", Limits: l, Ops: []bucket.Op{recorded(1)}}) {
			ops := []bucket.Op{{Kind: bucket.Peek}}
			if len(q.Key)%100 == 3 { // some writes, each with a sweep
				ops = append(ops, recorded(1))
			}
			res, err := d.Apply(t.Context(), []driver.Request{{Key: q.Key, Limits: l, Ops: ops}})
			if err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("seed %d, round %d: Apply: error %v, want one that matches ErrDamaged", seed, i, err)
				}
				continue
			}
			want := 500.0
			switch n {
			case 0:
				want = 0 // it was taken from twice
			case len(batch):
				want = 1000
			}
			if got := res[0].Results[0].State.Buckets[0].Level; got < want || got > want+1 {
				t.Errorf("seed %d, round %d: key %d has a level of %v without a word, want %v", seed, i, n, got, want)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if refused == 0 {
		t.Error("no damage was noticed")
	}
	t.Logf("%d of 150 damaged files were refused when they were opened", refused)
}

// TestLostWrite puts each page back to what it was some commits ago, as a disk does that lost a write: the file is
// refused, unless the page holds nothing by now.
func TestLostWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.Day})
	d := mustOpen(t, path, nil)
	take := func(i int) {
		mustApply(t, d, driver.Request{Key: strings.Repeat("k", i), Limits: l, Ops: []bucket.Op{recorded(100)}})
	}
	for i := range 100 {
		take(i)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		take(i)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for at := 0; at+4096 <= min(len(before), len(after)); at += 4096 {
		content := append([]byte{}, after...)
		copy(content[at:at+4096], before[at:])
		lost := filepath.Join(t.TempDir(), "lost.db")
		if err := os.WriteFile(lost, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(lost, nil)
		if err != nil {
			// A leaf where the tree began looks like another program's.
			if refused++; !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign) {
				t.Errorf("page %d: error %v, want one that matches ErrDamaged or ErrForeign", at/4096, err)
			}
			continue
		}
		for i := range 100 {
			if got := level(t, d, strings.Repeat("k", i), l); got < 800 || got > 801 {
				t.Errorf("page %d: key %d has a level of %v without a word, want 800", at/4096, i, got)
				break
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if refused < 3 {
		t.Errorf("%d pages were missed, want the metas and some leaves at least", refused)
	}
}

// TestNewFileIsWhole makes files in a directory and finds nothing else there, also where two are at it at once.
func TestNewFileIsWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "limits.db")
	for range 2 {
		opened := make(chan error)
		for range 2 {
			go func() {
				d, err := Open(path, nil) // the other waits for the first
				if err == nil {
					err = d.Close()
				}
				opened <- err
			}()
		}
		for range 2 {
			if err := <-opened; err != nil {
				t.Error(err)
			}
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v: want the file alone", files, err)
	}
}
