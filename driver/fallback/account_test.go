package fallback

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// In a long outage families come and go: what is kept of them is what the store is to be told, and what isn't full yet.
func TestIdleAccountsAreDropped(t *testing.T) {
	minute, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 60, Per: bucket.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		op    bucket.Op
		after time.Duration // when it is dropped; 0: it is kept
		share bool          // of Share alone
	}{
		{"nothing", bucket.Op{Kind: bucket.Peek}, time.Minute, true},
		{"what was used and has refilled", bucket.Op{Kind: bucket.Record, Cost: []float64{30}}, 90 * time.Second, true},
		{"what was given back", bucket.Op{Kind: bucket.Adjust, Cost: []float64{30}}, 0, true},
		{"a limit", bucket.Op{Kind: bucket.SetLimit, Limit: 30}, 0, false},
		{"the end of one", bucket.Op{Kind: bucket.ClearLimit}, 0, false},
		{"a pause", bucket.Op{Kind: bucket.Block, Span: 2 * bucket.Minute}, 2 * time.Minute, false},
		{"the end of one", bucket.Op{Kind: bucket.Block}, 0, false},
	} {
		for _, open := range []bool{false, true} {
			if open && c.share {
				continue
			}
			synctest.Test(t, func(t *testing.T) {
				d := wrap(down{}, nil, open).(*fallback)
				defer d.Close()
				if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: minute, Ops: []bucket.Op{c.op}}}); err != nil {
					t.Fatal(err)
				}
				kept := func() int {
					d.mu.Lock()
					defer d.mu.Unlock()
					return len(d.outage.accounts)
				}
				if c.after == 0 {
					time.Sleep(time.Hour)
					if kept() != 1 {
						t.Errorf("open %v, %s: dropped", open, c.name)
					}
					return
				}
				time.Sleep(c.after - time.Second)
				if kept() != 1 {
					t.Errorf("open %v, %s: dropped before %v", open, c.name, c.after)
				}
				time.Sleep(3 * time.Second)
				if kept() != 0 {
					t.Errorf("open %v, %s: kept after %v", open, c.name, c.after)
				}
			})
		}
	}
}

type down struct{}

func (down) Apply(context.Context, []driver.Request) ([]driver.Response, error) {
	return nil, errors.New("down")
}

func (down) Close() error { return nil }
