package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
)

// damageKeys is how many keys the file has that is to be damaged: enough for a tree of several pages.
const damageKeys = 60

// damage is a way to damage a file.
type damage struct {
	name string
	// at is how many places there are in a file of n bytes, and do damages the content at one of them.
	places func(n int) int
	do     func(content []byte, at int) []byte
}

func damages() []damage {
	return []damage{
		{"file cut short at every block of 512 bytes", func(n int) int { return (n - 1) / 512 }, func(c []byte, at int) []byte { return c[:512*(at+1)] }},
		{"file cut short by a byte, and emptied but for one", func(int) int { return 2 }, func(c []byte, at int) []byte { return c[:[]int{len(c) - 1, 1}[at]] }},
		{"a bit flipped, at places all over the file", func(n int) int { return 8 * n }, func(c []byte, at int) []byte { c[at/8] ^= 1 << (at % 8); return c }},
		{"a page of 4096 bytes zeroed, each", func(n int) int { return n / 4096 }, func(c []byte, at int) []byte { clear(c[4096*at : 4096*(at+1)]); return c }},
		{"a page as it was some commits ago, each", nil, nil},
	}
}

// damageRows damages a file in every way and looks what is told of it. Where nothing is told, everything must be as it was:
// each key's state, whole, and every entry of the file.
func damageRows(dir, which string, short bool, progress func(Row)) (rows []Row, err error) {
	path := filepath.Join(dir, "whole.db")
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: booked.Limit, Per: bucket.MaxSpan, Burst: burst})
	if err != nil {
		return nil, err
	}
	older, whole, truth, err := wholeFile(path, limits)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(3, 5))
	for _, f := range damages() {
		if !strings.Contains(f.name, which) {
			continue
		}
		row := Row{Fault: f.name, Driver: "bolt"}
		if f.do == nil { // a write that was lost long ago
			f.places = func(n int) int { return min(n, len(older)) / 4096 }
			f.do = func(c []byte, at int) []byte { copy(c[4096*at:4096*(at+1)], older[4096*at:]); return c }
		}
		n := f.places(len(whole))
		stride := 1
		if most := map[bool]int{true: 150, false: 5000}[short]; n > most {
			stride = n / most
		}
		told, unharmed := 0, 0
		for at := rng.IntN(stride); at < n; at += stride {
			content := f.do(bytes.Clone(whole), at)
			if bytes.Equal(content, whole) {
				continue
			}
			wrong, err := inspectDamaged(path, content, limits, truth)
			row.Runs++
			row.Operations += damageKeys
			switch {
			case err != nil && !errDamaged(err):
				row.problem("at %d: error %v, want one that says that the file is damaged", at, err)
			case err != nil:
				told++
			case wrong == "":
				unharmed++
			default:
				row.Minted++
				if len(row.Problems) < 5 {
					row.problem("at %d: without a word, %s", at, wrong)
				}
			}
		}
		row.Note = fmt.Sprintf("%d reported, %d where nothing is kept", told, unharmed)
		rows = append(rows, row)
		progress(row)
	}
	return rows, nil
}

// kept is what a file keeps: every entry of it as it is stored, and each key's state as a driver gives it.
type kept struct {
	entries map[string]string
	states  map[string]string
}

// clock stands still, so that a state can be compared with what it was.
func clock() bucket.Micros { return bucket.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) }

// wholeFile makes a file with many keys: some with a line, an override, a block, or debts. It returns its content some
// commits before the end and at the end, and what is kept in it.
func wholeFile(path string, limits *bucket.Limits) (older, whole []byte, truth *kept, err error) {
	d, err := bolt.Open(path, &bolt.Options{Clock: clock})
	if err != nil {
		return nil, nil, nil, err
	}
	for commit := range 12 {
		var batch []driver.Request
		for i := range damageKeys {
			if commit > 0 && i%7 != commit%7 {
				continue
			}
			batch = append(batch, driver.Request{Key: fmt.Sprintf("family %d", i), Limits: limits, Ops: damageOps(i, commit)})
		}
		if _, err := d.Apply(context.Background(), batch); err != nil {
			return nil, nil, nil, err
		}
		if commit == 6 {
			if older, err = os.ReadFile(path); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	if err := d.Close(); err != nil {
		return nil, nil, nil, err
	}
	if whole, err = os.ReadFile(path); err != nil {
		return nil, nil, nil, err
	}
	truth = new(kept)
	if truth.entries, err = entries(path, whole); err != nil {
		return nil, nil, nil, err
	}
	truth.states, _, err = states(path, limits)
	return older, whole, truth, err
}

// damageOps is what a commit does to a key.
func damageOps(key, commit int) []bucket.Op {
	cost := []float64{float64(100*(key+1) + commit)}
	ops := []bucket.Op{{Kind: bucket.Record, Cost: cost, Flow: "f"}}
	switch key % 5 {
	case 1: // somebody waits
		ops = append(ops, bucket.Op{Kind: bucket.Record, Cost: []float64{burst}},
			bucket.Op{Kind: bucket.Acquire, Cost: cost, Place: fmt.Sprint("place ", commit), Flow: "g", Poll: bucket.Minute, Grace: bucket.Minute})
	case 2:
		ops = append(ops, bucket.Op{Kind: bucket.SetLimit, Limit: float64(1e6 + commit)})
	case 3:
		ops = append(ops, bucket.Op{Kind: bucket.Block, Span: bucket.Micros(commit+1) * bucket.Hour})
	}
	return ops
}

// entries reads all that lies in a file with such a content, as it lies there: a driver would take it over first, and leave
// out who waited.
func entries(path string, content []byte) (all map[string]string, err error) {
	path += ".copy"
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("bbolt: %v", r)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	all = map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				all[string(name)+"/"+string(k)] = string(v)
				return nil
			})
		})
	})
	// How often the file was opened is under no checksum. It only says whether those who wait may still be alive.
	delete(all, "throttle/session")
	return all, err
}

// states opens a file, if it can be opened, and returns every key's state.
func states(path string, limits *bucket.Limits) (all map[string]string, opened bool, err error) {
	d, err := bolt.Open(path, &bolt.Options{Clock: clock})
	if err != nil {
		return nil, false, err
	}
	defer d.Close()
	all = map[string]string{}
	for i := range damageKeys {
		key := fmt.Sprintf("family %d", i)
		r, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: limits, Ops: []bucket.Op{{Kind: bucket.Peek}}}})
		if err != nil {
			return nil, true, err
		}
		all[key] = string(r[0].Results[0].State.Encode(nil))
	}
	return all, true, nil
}

// inspectDamaged opens a file with such a content and says what of it is another than it was, if that isn't told.
func inspectDamaged(path string, content []byte, limits *bucket.Limits, truth *kept) (wrong string, err error) {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", err
	}
	got, opened, err := states(path, limits)
	if err != nil {
		if after, readErr := os.ReadFile(path); readErr != nil || !opened && !bytes.Equal(after, content) {
			return "the file was refused and changed", readErr
		}
		return "", err
	}
	if wrong := differ(got, truth.states); wrong != "" {
		return wrong, nil
	}
	all, err := entries(path, content)
	if err != nil {
		return fmt.Sprintf("the driver serves what can't be read: %v", err), nil
	}
	return differ(all, truth.entries), nil
}

// differ says where what was got isn't what is wanted.
func differ(got, want map[string]string) string {
	for key, w := range want {
		if g, ok := got[key]; !ok || g != w {
			return fmt.Sprintf("%q is %q instead of %q", key, g, w)
		}
	}
	if len(got) > len(want) {
		return fmt.Sprintf("there are %d entries instead of %d", len(got), len(want))
	}
	return ""
}
