package statuses_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/statuses"
)

var errBroken = errors.New("broken")

// failure is what a broken store returns.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// far is the memory driver as a store that isn't in the process.
type far struct {
	driver.Driver
	err atomic.Value // of failure
}

func (f *far) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err, _ := f.err.Load().(failure); err.error != nil {
		return nil, err
	}
	return f.Driver.Apply(ctx, batch)
}

func models(_ context.Context, model string) (throttle.Model, error) {
	switch {
	case model == "free":
		return throttle.Model{Unlimited: true}, nil
	case strings.HasPrefix(model, "m"):
		return throttle.Model{Family: "f" + model[1:], Quotas: []throttle.Quota{throttle.PerDay("tokens", 10)}}, nil
	}
	return throttle.Model{}, throttle.ErrUnknownModel
}

func TestOf(t *testing.T) {
	for name, d := range map[string]driver.Driver{"local": memory.New(), "far": &far{Driver: memory.New()}} {
		t.Run(name, func(t *testing.T) {
			l := throttle.New(d, models)
			defer l.Close()
			for i := range 40 {
				if _, err := l.Acquire(t.Context(), fmt.Sprintf("m%02d", i), throttle.Usage{"tokens": 1}); err != nil {
					t.Fatal(err)
				}
			}
			look := statuses.Of(t.Context(), l, []string{"m00", "m99", "free"}, true, 41)
			if len(look.Statuses) != 41 || look.Failed != 0 || look.Omitted != 0 {
				t.Errorf("all: %d statuses, %d failed, %d omitted; want 40 that were used and one that wasn't", len(look.Statuses), look.Failed, look.Omitted)
			}
			for i, s := range look.Statuses {
				if want := fmt.Sprintf("f%02d", i); i < 40 && (s.Family != want || s.Buckets[0].Level > 9.1) {
					t.Errorf("status %d: %+v, want that of %s", i, s, want)
				}
			}
			look = statuses.Of(t.Context(), l, []string{"m05", "x"}, false, 100)
			if len(look.Statuses) != 1 || look.Statuses[0].Family != "f05" || look.Failed != 1 || !errors.Is(look.Err, throttle.ErrUnknownModel) {
				t.Errorf("listed: %+v", look)
			}
			if look = statuses.Of(t.Context(), l, nil, true, 3); len(look.Statuses) != 3 || look.Omitted != 38 { // m99 has been looked at
				t.Errorf("bounded: %d statuses, %d omitted", len(look.Statuses), look.Omitted)
			}
		})
	}
}

func TestOfABrokenStore(t *testing.T) {
	d := &far{Driver: memory.New()}
	l := throttle.New(d, models)
	defer l.Close()
	if _, err := l.Acquire(t.Context(), "m1", throttle.Usage{"tokens": 1}); err != nil {
		t.Fatal(err)
	}
	d.err.Store(failure{errBroken})
	if look := statuses.Of(t.Context(), l, nil, true, 3); look.Failed != 1 || !errors.Is(look.Err, errBroken) || len(look.Statuses) != 0 {
		t.Errorf("look %+v, want one failed family", look)
	}
}
