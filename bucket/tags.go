package bucket

import (
	"math"
	"slices"
	"strings"
)

// slack is how far a flow's tag may lie behind V, in microseconds of refill. A flow is charged for what it reserves and
// given back what it didn't use when its calls end: without slack V would have passed it by then, and the flow would
// lose what it gets back. It is in the order of how long calls take.
const slack = float64(Minute)

// ageing is how much longer than another a place must have waited to make up for one microsecond of refill by which its
// tag is later. So nobody waits for ever behind a flow that gives everything back.
const ageing = 8

// maxFlows is how many tags a state keeps: beyond that a key's flows are so many that each is a tenant among hundreds, and
// the one that is furthest behind may as well start at V.
const maxFlows = 256

// tidy drops the tags that no longer say anything: all of them when nobody waits, and those that V has left behind.
func (s *State) tidy() {
	if len(s.Line) == 0 {
		s.Line, s.Flows, s.Virtual, s.Arrivals = s.Line[:0], s.Flows[:0], 0, 0
		return
	}
	s.Flows = slices.DeleteFunc(s.Flows, func(f Flow) bool { return f.Finish < s.Virtual-slack })
}

// share is the dominant share of o's cost: the longest time, in microseconds, that any bucket takes to refill it.
func (s *State) share(l *Limits, o *Op) float64 {
	share := 0.0
	for i := range l.quotas {
		b := &s.Buckets[s.index(l, i)]
		part := float64(o.cost(l.resourceOf[i])*float64(b.Per)) / b.Rate()
		if math.Abs(part) > math.Abs(share) {
			share = part
		}
	}
	return max(-float64(MaxSpan), min(share, float64(MaxSpan))) // a limit can be so small that it overflows
}

// giveBack moves a flow's tags back by amount (on, where it is negative): the share of what was not used. Its waiting
// places that arrived after the given one (-1: all) move along, so that they keep their order.
func (s *State) giveBack(flow string, amount float64, after int64) {
	if amount == 0 {
		return
	}
	moved := false
	for i := range s.Line {
		p := &s.Line[i]
		if p.Flow == flow && p.Arrival > after {
			p.Start = max(s.Virtual-slack, p.Start-amount)
			moved = true
		}
	}
	if amount < 0 || s.findFlow(flow) >= 0 { // a flow without a tag was not charged
		s.setFinish(flow, s.startOf(flow)-amount)
	}
	if moved {
		s.sortLine()
	}
}

// startOf is where the flow's next place starts.
func (s *State) startOf(flow string) float64 {
	if i := s.findFlow(flow); i >= 0 {
		return max(s.Virtual-slack, s.Flows[i].Finish)
	}
	return s.Virtual
}

func (s *State) setFinish(flow string, finish float64) {
	finish = max(s.Virtual-slack, finish)
	if i := s.findFlow(flow); i >= 0 {
		s.Flows[i].Finish = finish
		return
	}
	if len(s.Flows) >= maxFlows {
		least := 0
		for i := range s.Flows {
			if s.Flows[i].Finish < s.Flows[least].Finish {
				least = i
			}
		}
		s.Flows = slices.Delete(s.Flows, least, least+1)
	}
	s.Flows = append(s.Flows, Flow{Name: strings.Clone(flow), Finish: finish})
}

func (s *State) findFlow(name string) int {
	for i := range s.Flows {
		if s.Flows[i].Name == name {
			return i
		}
	}
	return -1
}
