package tally

import (
	"cmp"
	"iter"
	"slices"
)

// Paused is the cause of a wait that no quota is to blame for.
const Paused = "pause"

// Flow is what was counted of a flow in a family.
type Flow struct {
	// Flow is empty where flows aren't told apart.
	Family, Flow string
	// Acquired and Settled are how many reservations were granted, and settled or cancelled; Unwaited is how many were
	// granted without standing in line.
	Acquired, Settled, Unwaited uint64
	// Waiting is how many calls stand in line in this process now.
	Waiting int64
	// Waits are in seconds, by what bound last: a resource, or Paused. They count all who stood in line, whatever came
	// of it.
	Waits map[string]*Histogram
	// Abandoned is how many left the line without a grant, by reason.
	Abandoned map[string]uint64
	Refused   []Refused
	Resources []Resource

	// Last says that it is the family's last flow: what isn't a flow's but the family's is counted there.
	Last                      bool
	StatesMissing, ClockSteps uint64
}

// Refused is how many calls were refused for one reason; see [Refusal].
type Refused struct {
	Reason, Resource string
	Count            uint64
}

// Resource is what was counted of one when it was settled or recorded, in its units: Reserved + Debt − Refunded
// is Used, but for what Options.AtGrant has counted already.
type Resource struct {
	Name                           string
	Reserved, Used, Refunded, Debt float64
	// Ratio is of what was used to what was reserved, by settlement.
	Ratio *Histogram
}

func (f *Flow) add(r *resource) {
	i := slices.IndexFunc(f.Resources, func(o Resource) bool { return o.Name == r.name })
	if i < 0 {
		i = len(f.Resources)
		f.Resources = append(f.Resources, Resource{Name: r.name, Ratio: newHistogram(ratioBounds[:])})
	}
	o := &f.Resources[i]
	o.Reserved += r.reserved
	o.Used += r.used
	o.Refunded += r.refunded
	o.Debt += r.debt
	o.Ratio.Sum += r.ratio.sum + float64(r.exact)
	o.Ratio.Counts[ratioOne] += r.exact
	for j, n := range r.ratio.counts {
		o.Ratio.Counts[j] += n
	}
}

// Flows yields what was counted, by family and flow, in order.
func (t *Tally) Flows() iter.Seq[*Flow] {
	return func(yield func(*Flow) bool) {
		var families []*family
		t.families.Range(func(_, f any) bool {
			families = append(families, f.(*family))
			return true
		})
		slices.SortFunc(families, func(a, b *family) int { return cmp.Compare(a.name, b.name) })
		for _, f := range families {
			for i := range f.flows {
				out := f.flows[i].snapshot(f.name, t.flows[i])
				out.Last = i == len(f.flows)-1
				if !yield(out) {
					return
				}
			}
		}
	}
}

// ByFlow says whether flows are told apart.
func (t *Tally) ByFlow() bool { return len(t.flows) > 1 }
