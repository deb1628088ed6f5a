package bolt

import (
	"context"
	"errors"
	"iter"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/driver"
)

// page is how many keys [Driver.Keys] reads at a time. A transaction that stays open keeps the space of what is written
// meanwhile from being used again, and can block a writer: so none is open while a key is yielded.
const page = 256

// Keys implements [driver.Lister]. Keys that equal absent ones are left out.
func (d *Driver) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		from := []byte{keyPrefix}
		for from != nil {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			var some []string
			var err error
			if some, from, err = d.page(from); err != nil {
				yield("", err)
				return
			}
			for _, key := range some {
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

// page returns some keys from a stored one on, and the one to go on with; nil after the last.
func (d *Driver) page(from []byte) (some []string, next []byte, err error) {
	err = safely(d.path, "list", func() error {
		return d.db.View(func(tx *bbolt.Tx) error {
			now := d.now()
			c := tx.Bucket(keysBucket).Cursor()
			k, v := c.Seek(from)
			for range page {
				if k == nil {
					return nil
				}
				if r, err := parseRecord(k, v); err != nil || r.absentAt > now {
					some = append(some, string(k[1:]))
				}
				k, v = c.Next()
			}
			if k != nil {
				next = append([]byte{}, k...)
			}
			return nil
		})
	})
	switch {
	case errors.Is(err, bbolt.ErrDatabaseNotOpen):
		err = driver.ErrClosed
	case err != nil && !errors.Is(err, ErrDamaged):
		err = d.storeError("list", err, "")
	}
	return some, next, err
}
