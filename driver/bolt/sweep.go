package bolt

import (
	"slices"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
)

// Each commit looks at some keys after those that the last one looked at, and removes those that equal absent ones. As
// many are looked at for each key written, at least, as keep the removed ahead of the added: a round over all keys ends
// before a third as many have been added. A commit never costs more than this, however many keys there are.
const (
	sweepAtLeast = 8
	sweepPerKey  = 3
)

// sweep removes what has expired among the next n keys from the cursor (nil: the first), and returns where to go on, and
// the shares of what was removed.
func sweep(keys *bbolt.Bucket, from []byte, now bucket.Micros, n int) (next []byte, removed uint64, err error) {
	var expired [][]byte
	c := keys.Cursor()
	k, v := c.Seek(from)
	for range n {
		if k == nil {
			break // the next round begins
		}
		// A value that can't be read is left for who asks for it to report.
		if r, err := parseRecord(k, v); err == nil && r.absentAt <= now {
			expired = append(expired, slices.Clone(k)) // deleting moves what a cursor points to
			removed += share(v)
		}
		k, v = c.Next()
	}
	next = slices.Clone(k)
	for _, k := range expired {
		if err := keys.Delete(k); err != nil {
			return next, removed, err
		}
	}
	return next, removed, nil
}
