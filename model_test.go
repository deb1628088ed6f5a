package throttle_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tokenthrottle/throttle"
)

// Whatever a user calls a model, its family is neither another model's nor one that Scale has made.
func TestFamiliesStayApart(t *testing.T) {
	models := throttle.Static(throttle.PerDay("tokens", 100))
	nested := throttle.Scale(throttle.Scale(models, "inner", 0.5), "outer", 0.5)
	names := []string{
		"m", "@m", "@@m", "m@batch", "@batch@m", "@@batch@m", "@", "@@", "@batch@", "batch@m", "@inner@m", "@outer@@inner@m",
		"@outer@@@inner@m", "", " m", "m\x00", "\x00m", "M", "@batch", "@\x00@m",
	}
	seen := map[string]string{}
	for who, resolve := range map[string]throttle.Models{
		"plain": models, "batch": throttle.Scale(models, "batch", 0.5), "inner": throttle.Scale(models, "inner", 0.5), "outer": throttle.Scale(models, "outer", 0.5), "nested": nested,
	} {
		l := throttle.New(still(), resolve)
		defer l.Close()
		for _, name := range names {
			r, err := l.Acquire(t.Context(), name, throttle.Usage{"tokens": 1})
			if err != nil {
				t.Fatal(err)
			}
			me := who + " " + name
			if other, taken := seen[r.Family()]; taken {
				t.Errorf("%q and %q share the family %q", me, other, r.Family())
			}
			seen[r.Family()] = me
			m, err := l.Model(t.Context(), name)
			if err != nil || m.Family != r.Family() {
				t.Errorf("%q: Model says %q, %v, the reservation %q", me, m.Family, err, r.Family())
			}
		}
	}
}

// What goes wrong in a model's own functions is a ModelError that says so.
func TestModelErrors(t *testing.T) {
	odd := errors.New("odd")
	models := throttle.Table(map[string]throttle.Model{"m": {
		Quotas:  []throttle.Quota{throttle.PerDay("tokens", 100)},
		Counter: func(context.Context, string, any) (throttle.Usage, error) { return nil, odd },
	}})
	l := throttle.New(still(), throttle.Scale(models, "batch", 0.5))
	defer l.Close()
	var model *throttle.ModelError
	if _, err := l.AcquireFor(t.Context(), "m", "request", nil); !errors.As(err, &model) || !errors.Is(err, odd) {
		t.Errorf("a request that can't be counted: %v", err)
	}
	if _, err := l.Acquire(t.Context(), "other", nil); !errors.As(err, &model) || !errors.Is(err, throttle.ErrUnknownModel) {
		t.Errorf("a model that isn't in the table: %v", err)
	}
}

// Models of one family share its buckets, so a table can't give them different quotas.
func TestTableOfOneFamily(t *testing.T) {
	minute, day := throttle.PerMinute("tokens", 100), throttle.PerDay("tokens", 1000)
	for name, c := range map[string]struct {
		a, b   throttle.Model
		refuse bool
	}{
		"the same, in another order": {throttle.Model{Quotas: []throttle.Quota{minute, day}}, throttle.Model{Quotas: []throttle.Quota{day, minute}}, false},
		"another limit":              {throttle.Model{Quotas: []throttle.Quota{minute}}, throttle.Model{Quotas: []throttle.Quota{throttle.PerMinute("tokens", 10)}}, true},
		"another resource":           {throttle.Model{Quotas: []throttle.Quota{minute}}, throttle.Model{Quotas: []throttle.Quota{minute, throttle.PerMinute("requests", 10)}}, true},
		"one unlimited":              {throttle.Model{Quotas: []throttle.Quota{minute}}, throttle.Model{Unlimited: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.a.Family, c.b.Family = "f", "f"
			l := throttle.New(still(), throttle.Table(map[string]throttle.Model{"a": c.a, "b": c.b, "alone": {Quotas: []throttle.Quota{minute}}}))
			defer l.Close()
			for _, model := range []string{"a", "b", "alone"} {
				_, err := l.TryAcquire(t.Context(), model, throttle.Usage{"tokens": 1})
				var argument *throttle.ArgumentError
				if refused := errors.As(err, &argument); refused != (c.refuse && model != "alone") || !refused && err != nil {
					t.Errorf("model %s: error %v", model, err)
				}
			}
		})
	}
}
