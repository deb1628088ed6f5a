package throttle_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// remote hides that a driver lives in the process, and takes a round trip's time, so that the limiter batches for it.
type remote struct {
	driver.Driver
	trip    time.Duration
	applies atomic.Int64
	ops     atomic.Int64
	fail    atomic.Pointer[error]
}

func (r *remote) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	r.applies.Add(1)
	for i := range batch {
		r.ops.Add(int64(len(batch[i].Ops)))
	}
	if err := r.fail.Load(); err != nil {
		return nil, *err
	}
	time.Sleep(r.trip / 2)
	if err := r.fail.Load(); err != nil { // it broke on the way
		return nil, *err
	}
	responses, err := r.Driver.Apply(ctx, batch)
	time.Sleep(r.trip / 2)
	return responses, err
}

// notifying also passes on what the driver tells of places that are ready.
type notifying struct{ remote }

func (n *notifying) Notify(ctx context.Context, ready func(key, place string)) (func(), error) {
	return n.Driver.(driver.Notifier).Notify(ctx, ready)
}

// stores are the ways in which a limiter can reach its state.
var stores = map[string]func() driver.Driver{
	"local":     func() driver.Driver { return memory.New() },
	"remote":    func() driver.Driver { return &remote{Driver: memory.New(), trip: time.Millisecond} },
	"notifying": func() driver.Driver { return &notifying{remote{Driver: memory.New(), trip: time.Millisecond}} },
}

// onStores runs a test in virtual time on each kind of store.
func onStores(t *testing.T, test func(t *testing.T, d driver.Driver)) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, open()) })
		})
	}
}

func level(t *testing.T, l *throttle.Limiter, model string) float64 {
	t.Helper()
	s, err := l.Status(context.Background(), model)
	if err != nil {
		t.Fatal(err)
	}
	return s.Buckets[0].Level
}
