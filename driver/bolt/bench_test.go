package bolt

import (
	"fmt"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// BenchmarkApply is one acquire over three buckets a request.
func BenchmarkApply(b *testing.B) {
	l := mustLimits(b,
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day})
	for _, size := range []int{1, 64} {
		for _, keys := range []int{1, 10_000} {
			b.Run(fmt.Sprintf("batch=%d/keys=%d", size, keys), func(b *testing.B) {
				d := mustOpen(b, filepath.Join(b.TempDir(), "limits.db"), nil)
				batch := make([]driver.Request, size)
				next := 0
				for b.Loop() {
					for i := range batch {
						batch[i] = driver.Request{Key: fmt.Sprint("key-", next%keys), Limits: l, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1, 1000}}}}
						next += 7919
					}
					if _, err := d.Apply(b.Context(), batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/request")
			})
		}
	}
	b.Run("bare-update", func(b *testing.B) {
		db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), mode, nil)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		value := make([]byte, 400)
		for b.Loop() {
			err := db.Update(func(tx *bbolt.Tx) error {
				keys, err := tx.CreateBucketIfNotExists(keysBucket)
				if err != nil {
					return err
				}
				return keys.Put([]byte("k"), value)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
