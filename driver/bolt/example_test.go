package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
)

// What was taken stays taken when the program starts again.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "throttle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	limits, err := bucket.NewLimits(bucket.Quota{Resource: "requests", Limit: 100, Per: bucket.Day})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		d, err := driver.Open(ctx, "bolt://"+filepath.Join(dir, "limits.db")+"?timeout=2s")
		if err != nil {
			fmt.Println(err)
			return
		}
		r, err := d.Apply(ctx, []driver.Request{{Key: "gpt-4.1", Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{45}}}}})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r[0].Results[0].Status)
		if err := d.Close(); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// granted
	// granted
	// refused
}

// One process holds the file. The error says so, at once or after a while.
func ExampleOpen_locked() {
	dir, err := os.MkdirTemp("", "throttle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "limits.db")
	first, err := bolt.Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = first.Close() }()

	_, err = bolt.Open(path, &bolt.Options{Timeout: -1})
	fmt.Println(errors.Is(err, bolt.ErrLocked))
	// Output:
	// true
}
