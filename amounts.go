package throttle

import (
	"iter"
	"log/slog"
	"strconv"
	"strings"
)

// Amounts are what hooks are given instead of a [Usage]: units of each resource that a family limits, in an order that
// stays the same for as long as its quotas do. Reading them builds no map; they are a copy, and may be kept. The zero
// Amounts is empty.
type Amounts struct {
	plan  *plan
	costs costs
}

func (a Amounts) names() []string {
	if a.plan == nil {
		return nil
	}
	return a.plan.limits.Resources()
}

// Len is how many resources the family limits.
func (a Amounts) Len() int { return len(a.names()) }

// At returns resource i, from 0 up to Len, and its units, which may be 0.
func (a Amounts) At(i int) (resource string, units float64) { return a.names()[i], a.costs.at(i) }

// Of returns the units of a resource; 0 for one that the family doesn't limit.
func (a Amounts) Of(resource string) float64 {
	for i, name := range a.names() {
		if name == resource {
			return a.costs.at(i)
		}
	}
	return 0
}

// All yields each resource and its units, those that are 0 left out.
func (a Amounts) All() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for i, name := range a.names() {
			if units := a.costs.at(i); units != 0 && !yield(name, units) {
				return
			}
		}
	}
}

// Map returns the amounts as a map, those that are 0 left out.
func (a Amounts) Map() Usage {
	u := make(Usage, a.Len())
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
func (a Amounts) beyond(b Amounts) Amounts {
	out := Amounts{plan: a.plan}
	list := out.costs.reset(a.Len())
	for i := range list {
		units := a.costs.at(i)
		if i < b.Len() {
			units -= b.costs.at(i)
		}
		list[i] = max(0, units)
	}
	return out
}
