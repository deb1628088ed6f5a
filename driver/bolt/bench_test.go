package bolt

import (
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
)

func BenchmarkDriver(b *testing.B) {
	conformance.Bench(b, func(tb testing.TB) driver.Driver { return mustOpen(tb, filepath.Join(tb.TempDir(), "limits.db"), nil) })
}

// BenchmarkBareUpdate is the floor: bbolt alone, with a value as long as a state of three buckets.
func BenchmarkBareUpdate(b *testing.B) {
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
}
