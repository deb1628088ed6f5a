//go:build !race

package throttle_test

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// A reservation fits where an allocation of 96 bytes goes: see docs/decisions/0013.
func TestReservationsAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(throttle.Reservation{}); size > 96 {
		t.Errorf("a reservation has %d bytes, want at most 96: the next larger ones cost a fifth more to allocate", size)
	}
}

// What the hot paths allocate, with the race detector off, which allocates for itself. A refusal's error is cut from a
// block of several, so that it is a small part of an allocation: less than the one that AllocsPerRun would count.
func TestHotPathsDontAllocate(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	models := throttle.Static(
		throttle.PerMinute("requests", 1e9),
		throttle.PerMinute("tokens", 1e12),
		throttle.PerDay("requests", 1e12),
	)
	l := throttle.New(memory.New(), models)
	flow := []throttle.CallOption{throttle.Flow("batch", 2)}
	full := throttle.New(memory.New(), throttle.Static(throttle.PerDay("tokens", 10), throttle.PerDay("requests", 10)))
	if _, err := full.Acquire(ctx, "m", throttle.Usage{"tokens": 10}); err != nil {
		t.Fatal(err)
	}
	many := throttle.New(memory.New(), throttle.Static(
		throttle.PerDay("a", 1e9), throttle.PerDay("b", 1e9), throttle.PerDay("c", 1e9), throttle.PerDay("d", 1e9), throttle.PerDay("e", 1e9)))
	reserved := throttle.Usage{"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}
	used := throttle.Usage{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
	for _, c := range []struct {
		name string
		most float64
		run  func() error
	}{
		{"acquire and settle", 1, func() error {
			r, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 14_000})
			if err != nil {
				return err
			}
			return r.Settle(ctx, throttle.Usage{"requests": 1, "tokens": 1_250})
		}},
		{"acquire and cancel", 1, func() error {
			r, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 14_000})
			if err != nil {
				return err
			}
			return r.Cancel(ctx)
		}},
		{"try and settle", 1, func() error {
			r, err := l.TryAcquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 14_000})
			if err != nil {
				return err
			}
			return r.Settle(ctx, throttle.Usage{"tokens": 20_000})
		}},
		{"acquire and settle in a flow", 2, func() error { // the call's options are one
			r, err := l.Acquire(ctx, "m", throttle.Usage{"requests": 1}, flow...)
			if err != nil {
				return err
			}
			return r.Settle(ctx, nil)
		}},
		{"record", 1, func() error { // context.WithoutCancel is one
			return l.Record(ctx, "m", throttle.Usage{"tokens": 1})
		}},
		// The costs of more resources than a reservation has room for, reserved and left over: a list each, and where it is.
		{"acquire and settle many resources", 5, func() error {
			r, err := many.Acquire(ctx, "m", reserved)
			if err != nil {
				return err
			}
			return r.Settle(ctx, used)
		}},
		{"refused", 0, func() error {
			if _, err := full.TryAcquire(ctx, "m", throttle.Usage{"requests": 1, "tokens": 1}); !errors.Is(err, throttle.ErrNoCapacity) {
				return errors.Join(errors.New("not refused"), err)
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var failed error
			got := testing.AllocsPerRun(1000, func() {
				if err := c.run(); err != nil {
					failed = err
				}
			})
			if failed != nil {
				t.Fatal(failed)
			}
			if got > c.most {
				t.Errorf("%v allocations, want at most %v", got, c.most)
			}
		})
	}
}
