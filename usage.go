package throttle

import (
	"slices"

	"github.com/tokenthrottle/throttle/bucket"
)

// inlineCosts is how many resources a reservation has room for in itself.
const inlineCosts = 4

// costs is an amount of each of a plan's resources, in the order of bucket.Limits.Resources.
type costs struct {
	inline [inlineCosts]float64
	more   *[]float64 // all of them, where there are more than inlineCosts; a pointer, since costs are copied a lot
	n      int
}

func (c *costs) slice() []float64 {
	if c.more != nil {
		return *c.more
	}
	return c.inline[:c.n]
}

func (c *costs) at(i int) float64 {
	if c.more != nil {
		return (*c.more)[i]
	}
	return c.inline[i]
}

func (c *costs) reset(n int) []float64 {
	c.n = n
	if c.more != nil {
		c.more = nil
	}
	if n > inlineCosts {
		list := make([]float64, n)
		c.more = &list
		return list
	}
	c.inline = [inlineCosts]float64{}
	return c.inline[:n]
}

// set reads usage, which may name only what the plan limits.
func (c *costs) set(p *plan, usage Usage) *UsageError {
	resources := p.limits.Resources()
	list := c.reset(len(resources))
	found := 0
	for i, r := range resources {
		amount, ok := usage[r]
		if !ok {
			continue
		}
		found++
		if !(amount >= 0 && amount <= bucket.MaxUnits) {
			return &UsageError{Resource: r, Amount: amount}
		}
		list[i] = amount
	}
	if found == len(usage) {
		return nil
	}
	for r, amount := range usage {
		if p.limits.Resource(r) < 0 {
			return &UsageError{Resource: r, Amount: amount, Known: slices.Clone(resources)}
		}
	}
	return nil
}

// under returns the same amounts in the order of another plan's resources: what that one doesn't limit is left out.
func (c *costs) under(from, to *plan) costs {
	var out costs
	list := out.reset(len(to.limits.Resources()))
	old := c.slice()
	for i, r := range to.limits.Resources() {
		if j := from.limits.Resource(r); j >= 0 {
			list[i] = old[j]
		}
	}
	return out
}

// usage returns the amounts by name, those that are 0 left out.
func (c *costs) usage(p *plan) Usage {
	u := make(Usage, c.n)
	for i, amount := range c.slice() {
		if amount != 0 {
			u[p.limits.Resources()[i]] = amount
		}
	}
	return u
}
