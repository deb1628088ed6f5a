package throttle

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// Usage is an amount of each resource, in units: {"requests": 1, "tokens": 1250}. Amounts are 0 to [bucket.MaxUnits].
// A nil Usage is no usage at all, but for [Reservation.Settle], where it means that everything reserved was used.
type Usage map[string]float64

// Quota is one limit: so many units of a resource in a period. It refills continuously, Limit/Per a second, up to Burst.
type Quota struct {
	// Resource names what is counted, as in [Usage].
	Resource string
	// Limit is how many units come back in each Per; more than 0.
	Limit float64
	// Per is the period; at least a microsecond.
	Per time.Duration
	// Burst is how many units can be used at once after an idle spell; 0 means Limit.
	Burst float64
}

// PerSecond is a quota of limit units a second.
func PerSecond(resource string, limit float64) Quota {
	return Quota{Resource: resource, Limit: limit, Per: time.Second}
}

// PerMinute is a quota of limit units a minute.
func PerMinute(resource string, limit float64) Quota {
	return Quota{Resource: resource, Limit: limit, Per: time.Minute}
}

// PerHour is a quota of limit units an hour.
func PerHour(resource string, limit float64) Quota {
	return Quota{Resource: resource, Limit: limit, Per: time.Hour}
}

// PerDay is a quota of limit units in 24 hours, refilling all day long, not at midnight.
func PerDay(resource string, limit float64) Quota {
	return Quota{Resource: resource, Limit: limit, Per: 24 * time.Hour}
}

// WithBurst returns the quota with another burst, in units. Where a provider counts a minute's limit over shorter
// windows, as Azure does over 10 seconds, the burst is what one such window allows.
func (q Quota) WithBurst(burst float64) Quota {
	q.Burst = burst
	return q
}

// Scale returns the quota with limit and burst multiplied by share.
func (q Quota) Scale(share float64) Quota {
	q.Limit *= share
	q.Burst *= share
	return q
}

func (q Quota) bucket() bucket.Quota {
	return bucket.Quota{Resource: q.Resource, Limit: q.Limit, Per: bucket.MicrosOf(q.Per), Burst: q.Burst}
}

// Counter works out what a request will use at most, before it is sent. request is whatever the caller passed to
// [Limiter.AcquireFor].
type Counter func(ctx context.Context, model string, request any) (Usage, error)

// Model is what a model name stands for.
type Model struct {
	// Family names the state: models of one family share every bucket, so they must have the same Quotas: others count as
	// a change of the family's limits, for all who wait and for what is settled later too. Empty means the model's own
	// name. In the store, one that begins with an @ gets another, since names with a single one are those of [Scale].
	Family string
	// Quotas are the family's limits. Whoever returns the Model must not change the slice afterwards; for other quotas
	// it returns another slice.
	Quotas []Quota
	// Counter serves [Limiter.AcquireFor]; nil where it isn't used.
	Counter Counter
	// Unlimited says, explicitly, that nothing is limited: Quotas are ignored and no state is kept. A Model with neither
	// Quotas nor Unlimited is an error, since a forgotten limit looks just like it.
	Unlimited bool

	scaled bool // Family was made by Scale
}

// Models resolves a model name. It is called for each acquire, by many goroutines at once, and should be fast. An error
// reaches the caller as a [*ModelError].
type Models func(ctx context.Context, model string) (Model, error)

// Static gives every model the same quotas, each model in a family of its own.
func Static(quotas ...Quota) Models {
	return func(_ context.Context, model string) (Model, error) {
		return Model{Family: model, Quotas: quotas}, nil
	}
}

// Shared gives every model the same quotas in one family: all models draw on the same buckets.
func Shared(family string, quotas ...Quota) Models {
	m := Model{Family: family, Quotas: quotas}
	return func(context.Context, string) (Model, error) { return m, nil }
}

// Table resolves the models it lists and refuses others with an error that matches [ErrUnknownModel]. Models of one family
// whose quotas differ are refused with an [*ArgumentError].
func Table(models map[string]Model) Models {
	models = maps.Clone(models)
	clashes := clashes(models)
	return func(_ context.Context, model string) (Model, error) {
		m, ok := models[model]
		if !ok {
			return Model{}, ErrUnknownModel
		}
		if err := clashes[m.family(model)]; err != nil {
			return Model{}, err
		}
		return m, nil
	}
}

// clashes are the errors of families whose models have different quotas.
func clashes(models map[string]Model) map[string]error {
	errs, first := map[string]error{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		m := models[name]
		family := m.family(name)
		other, ok := first[family]
		if !ok {
			first[family] = name
			continue
		}
		if o := models[other]; errs[family] == nil && (o.Unlimited != m.Unlimited || !slices.Equal(o.sorted(), m.sorted())) {
			errs[family] = &ArgumentError{"table", other + " and " + name, fmt.Sprintf("the same quotas, since both are of the family %.80q", family)}
		}
	}
	return errs
}

// sorted are the quotas in an order that tells nothing.
func (m *Model) sorted() []Quota {
	return slices.SortedFunc(slices.Values(m.Quotas), func(a, b Quota) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Per, b.Per))
	})
}

// Unlimited resolves every model to one without limits.
func Unlimited() Models {
	return func(_ context.Context, model string) (Model, error) {
		return Model{Family: model, Unlimited: true}, nil
	}
}

// family names the state of a model. Names are often their users', so none may reach what Scale has made.
func (m *Model) family(model string) string {
	name := m.Family
	if name == "" {
		name = model
	}
	if name != "" && name[0] == '@' && !m.scaled {
		name = "@" + name
	}
	return name
}

// Scale gives a program a fixed share of each family: the batch 0.9 of a key, production 0.1, neither ever in the
// other's way. The name tells the shares apart: each has state of its own, in the family @name@family, which no model's
// own name can be. It isn't empty and has no @. share is more than 0 and at most 1. Where
// both run beside each other, [Flow] wastes less: what one flow leaves, another uses.
func Scale(models Models, name string, share float64) Models {
	return func(ctx context.Context, model string) (Model, error) {
		if !(share > 0 && share <= 1) {
			return Model{}, &ArgumentError{"share", share, "more than 0 and at most 1"}
		}
		if name == "" || strings.Contains(name, "@") {
			return Model{}, &ArgumentError{"name", name, "not empty, and without @"}
		}
		if models == nil {
			return Model{}, &ArgumentError{"models", nil, "a function, such as Static"}
		}
		m, err := models(ctx, model)
		if err != nil || m.Unlimited {
			return m, err
		}
		m.Family = m.family(model)
		scaled := make([]Quota, len(m.Quotas))
		for i, q := range m.Quotas {
			scaled[i] = q.Scale(share)
		}
		m.Family, m.Quotas, m.scaled = "@"+name+"@"+m.Family, scaled, true
		return m, nil
	}
}
