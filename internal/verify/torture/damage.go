package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

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

// damageRows damages a file in every way and looks what is told of it. Every level that comes back without a word must be
// the true one.
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
			row.Operations += len(truth)
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

// wholeFile makes a file with many keys, and returns its content some commits before the end and at the end, and what the
// levels are.
func wholeFile(path string, limits *bucket.Limits) (older, whole []byte, truth map[string]float64, err error) {
	d, err := bolt.Open(path, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	truth = map[string]float64{}
	for commit := range 12 {
		var batch []driver.Request
		for i := range damageKeys {
			if commit > 0 && i%7 != commit%7 {
				continue
			}
			key, cost := fmt.Sprintf("family %d", i), float64(100*(i+1)+commit)
			batch = append(batch, driver.Request{Key: key, Limits: limits, Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{cost}}}})
			if truth[key] == 0 {
				truth[key] = burst
			}
			truth[key] -= cost
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
	whole, err = os.ReadFile(path)
	return older, whole, truth, err
}

// inspectDamaged opens a file with such a content and says what is wrong with its levels, if that isn't told.
func inspectDamaged(path string, content []byte, limits *bucket.Limits, truth map[string]float64) (wrong string, err error) {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", err
	}
	d, err := bolt.Open(path, nil)
	if err != nil {
		after, readErr := os.ReadFile(path)
		if readErr != nil {
			return "", readErr
		}
		if !bytes.Equal(after, content) {
			return "the file was refused and changed", nil
		}
		return "", err
	}
	defer d.Close()
	for key, level := range truth {
		r, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: limits, Ops: []bucket.Op{{Kind: bucket.Peek}}}})
		if err != nil {
			return "", err
		}
		if got := r[0].Results[0].State.Buckets[0].Level; got < level-1e-3 || got > level+1 {
			return fmt.Sprintf("key %q has %g instead of %g", key, got, level), nil
		}
	}
	return "", nil
}
