package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/driver/bolt"
)

// onDisk gives a side a folder of its own, which goes when the side is closed. It is below the working folder, since
// /tmp may be memory.
func onDisk(make func(dir string) (side, error)) func() (side, error) {
	return func() (side, error) {
		dir, err := os.MkdirTemp(".", "bench-")
		if err != nil {
			return side{}, err
		}
		s, err := make(dir)
		if err != nil {
			return side{}, errors.Join(err, os.RemoveAll(dir))
		}
		closeSide := s.close
		s.close = func() {
			if closeSide != nil {
				closeSide()
			}
			warn(os.RemoveAll(dir))
		}
		return s, nil
	}
}

func boltOurs(keys int) func() (side, error) {
	return onDisk(func(dir string) (side, error) {
		d, err := bolt.Open(filepath.Join(dir, "limits.db"), nil)
		if err != nil {
			return side{}, err
		}
		return limiter(d, keys, true), nil
	})
}

var naiveBucket = []byte("limits")

// bboltSide is what a user writes by hand: a transaction that reads the key's levels, decides, and writes them, for the
// acquire, and another for the settlement.
func bboltSide(keys int, name string, do func(*bbolt.DB, func(*bbolt.Tx) error) error) func() (side, error) {
	return onDisk(func(dir string) (side, error) {
		db, err := bbolt.Open(filepath.Join(dir, "naive.db"), 0o600, &bbolt.Options{Timeout: time.Second})
		if err != nil {
			return side{}, err
		}
		models := names(keys)
		err = db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(naiveBucket)
			if err != nil {
				return err
			}
			for _, m := range models {
				if err := b.Put([]byte(m), newLevels().encode()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return side{}, err
		}
		apply := func(model string, requests, tokens float64) error {
			return do(db, func(tx *bbolt.Tx) error {
				b := tx.Bucket(naiveBucket)
				l, err := decodeLevels(b.Get([]byte(model)))
				if err != nil {
					return err
				}
				if !l.take(time.Now(), requests, tokens) {
					return errRefused
				}
				return b.Put([]byte(model), l.encode())
			})
		}
		return side{
			name: name,
			run: func(g, n int) error {
				for i := range n {
					model := models[next(g, i, keys)]
					if err := apply(model, 1, reservedTokens); err != nil {
						return err
					}
					if err := apply(model, 0, usedTokens-reservedTokens); err != nil {
						return err
					}
				}
				return nil
			},
			close: func() { db.Close() },
		}, nil
	})
}

func bboltUpdate(keys int) func() (side, error) {
	return bboltSide(keys, "bbolt Update", func(db *bbolt.DB, f func(*bbolt.Tx) error) error { return db.Update(f) })
}

func bboltBatch(keys int) func() (side, error) {
	return bboltSide(keys, "bbolt Batch", func(db *bbolt.DB, f func(*bbolt.Tx) error) error { return db.Batch(f) })
}

// fdatasync is the floor of whatever keeps its promises on a disk: one write and one sync for the acquire and one for the
// settlement, by each goroutine in its own file.
func fdatasync(goroutines int) func() (side, error) {
	return onDisk(func(dir string) (side, error) {
		files := make([]*os.File, goroutines)
		for i := range files {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
			if err != nil {
				return side{}, err
			}
			files[i] = f
		}
		block := make([]byte, 512)
		return side{
			name: "a write and an fdatasync, each",
			run: func(g, n int) error {
				for range 2 * n {
					if _, err := files[g].WriteAt(block, 0); err != nil {
						return err
					}
					if err := syncData(files[g]); err != nil {
						return err
					}
				}
				return nil
			},
			close: func() {
				for _, f := range files {
					f.Close()
				}
			},
		}, nil
	})
}

func boltContests() []contest {
	list := []contest{
		{name: "bolt-hot-64", goroutines: 64, keys: 1, goal: 0.05},
		{name: "bolt-10k-64", goroutines: 64, keys: 10_000, goal: 0.12},
		{name: "bolt-hot-1", goroutines: 1, keys: 1, goal: 1.1},
	}
	for i := range list {
		c := &list[i]
		c.ours, c.other, c.floorSide = boltOurs(c.keys), bboltUpdate(c.keys), fdatasync(c.goroutines)
		c.peers = []func() (side, error){bboltBatch(c.keys)}
		c.budget = 150 * time.Millisecond
	}
	return list
}
