package throttle

import (
	"iter"
	"log/slog"
	"strconv"
	"strings"
)

// Amounts are what hooks are given instead of a [Usage]: units of each resource that a family limits. Reading them builds
// no map. They are as they were when the hook was called, and may be kept. The zero Amounts is empty.
type Amounts struct {
	plan  *plan
	costs costs
}

// Resources are the names of what the family limits, in order: the same slice for as long as its quotas stay the same.
// It must not be changed.
func (a *Amounts) Resources() []string {
	if a.plan == nil {
		return nil
	}
	return a.plan.limits.Resources()
}

// Units are the amounts, 0 included, in the order of Resources. They are the Amounts' own: they must not be changed.
func (a *Amounts) Units() []float64 { return a.costs.slice() }

// Of returns the units of a resource; 0 for one that the family doesn't limit.
func (a Amounts) Of(resource string) float64 {
	for i, name := range a.Resources() {
		if name == resource {
			return a.costs.at(i)
		}
	}
	return 0
}

// All yields each resource and its units, those that are 0 left out.
func (a Amounts) All() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for i, name := range a.Resources() {
			if units := a.costs.at(i); units != 0 && !yield(name, units) {
				return
			}
		}
	}
}

// Map returns the amounts as a map, those that are 0 left out.
func (a Amounts) Map() Usage {
	u := make(Usage, a.costs.n)
	for name, units := range a.All() {
		u[name] = units
	}
	return u
}

// String is like "requests=1 tokens=1250".
func (a Amounts) String() string {
	var b strings.Builder
	for name, units := range a.All() {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name + "=" + strconv.FormatFloat(units, 'g', -1, 64))
	}
	return b.String()
}

// LogValue makes a group of them in a log record, such as usage.tokens=1250.
func (a Amounts) LogValue() slog.Value {
	var attrs []slog.Attr
	for name, units := range a.All() {
		attrs = append(attrs, slog.Float64(name, units))
	}
	return slog.GroupValue(attrs...)
}

// beyond is by how much a is above b, 0 where it isn't.
func (a *Amounts) beyond(b *Amounts) Amounts {
	out := Amounts{plan: a.plan}
	list := out.costs.reset(a.costs.n)
	for i := range list {
		units := a.costs.at(i)
		if i < b.costs.n {
			units -= b.costs.at(i)
		}
		list[i] = max(0, units)
	}
	return out
}

// difference makes an empty a what is left of b without d.
func (a *Amounts) difference(b *Amounts, d *costs) {
	a.plan = b.plan
	if b.costs.more == nil && d.more == nil {
		a.costs.n = b.costs.n
		for i := range a.costs.inline {
			a.costs.inline[i] = b.costs.inline[i] - d.inline[i]
		}
		return
	}
	list := a.costs.reset(b.costs.n)
	for i := range list {
		list[i] = b.costs.at(i) - d.at(i)
	}
}
