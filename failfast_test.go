package throttle

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tokenthrottle/throttle/driver/memory"
)

// A lane counts those in it who want to know of a wait that is too long, so that it is searched for them only where there
// are any. Nothing but time would tell a wrong count.
func TestLaneCountsWhoFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(memory.New(), Static(PerDay("tokens", 10)))
		defer l.Close()
		if _, err := l.Acquire(t.Context(), "m", Usage{"tokens": 10}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait := func(ctx context.Context, options ...CallOption) {
			go func() {
				if r, err := l.Acquire(ctx, "m", Usage{"tokens": 1}, options...); err == nil {
					t.Errorf("granted %v", r)
				}
			}()
			synctest.Wait()
		}
		counted := func(want int) {
			t.Helper()
			f := l.families.list()[0]
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.lanes) != 1 || f.lanes[0].failFast != want {
				t.Errorf("%d lanes, the first counts %d, want one that counts %d", len(f.lanes), f.lanes[0].failFast, want)
			}
		}
		wait(t.Context())
		counted(0)
		wait(t.Context(), FailFast())
		counted(1)
		wait(ctx, FailFast())
		counted(2)
		cancel()
		synctest.Wait()
		counted(1)
	})
}

// A waiter that has left its lane can be taken out once more: nothing happens.
func TestRemovedTwice(t *testing.T) {
	l := New(memory.New(), Static(PerDay("tokens", 10)))
	defer l.Close()
	if _, err := l.Acquire(t.Context(), "m", Usage{"tokens": 1}); err != nil {
		t.Fatal(err)
	}
	f := l.families.list()[0]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(&waiter{})
	if n := l.waiters.Load(); n != 0 {
		t.Errorf("%d waiters are counted, want none", n)
	}
}
