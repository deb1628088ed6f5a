package bucket

import (
	"fmt"
	"math"
	"strings"
)

// maxTag is beyond any tag that Apply reaches, and so large that adding to it changes nothing: tags stay finite.
const maxTag = 1e100

// check holds a decoded state to everything that Apply relies on.
func (s *State) check() error {
	if s.At < 0 || s.At > MaxInstant || s.Blocked < 0 || s.Blocked > MaxInstant+MaxSpan || s.Kept < 0 || s.Kept > MaxInstant+MaxSpan || s.Forgotten < 0 || s.Forgotten > MaxInstant {
		return fmt.Errorf("bucket: state: instants at %d, blocked until %d, kept until %d, forgotten %d: want 0 to %d", s.At, s.Blocked, s.Kept, s.Forgotten, MaxInstant)
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		if err := b.check(); err != nil {
			return fmt.Errorf("bucket: state: bucket %d: %w", i, err)
		}
		if i > 0 && s.Buckets[i-1].compare(b.Quota) >= 0 {
			return fmt.Errorf("bucket: state: bucket %d is out of order", i)
		}
	}
	if err := s.checkLine(); err != nil {
		return err
	}
	return s.checkBatches()
}

func (b *Bucket) check() error {
	if err := b.Validate(); err != nil {
		return err
	}
	switch {
	case b.Burst == 0:
		return fmt.Errorf("burst 0: want the limit filled in")
	case !(b.OverLimit >= 0 && b.OverLimit <= MaxUnits && b.OverBurst >= 0 && b.OverBurst <= MaxUnits) || b.OverLimit == 0 && b.OverBurst != 0:
		return fmt.Errorf("override %v, burst %v: want 0 to %g", b.OverLimit, b.OverBurst, float64(MaxUnits))
	case !(b.Level <= b.Cap()) || math.IsInf(b.Level, -1):
		return fmt.Errorf("level %v: want at most the burst, %v", b.Level, b.Cap())
	}
	return nil
}

func (s *State) checkLine() error {
	if len(s.Line) == 0 {
		if len(s.Flows) > 0 || s.Virtual != 0 || s.Arrivals != 0 {
			return fmt.Errorf("bucket: state: %d tags, virtual %v, arrivals %d: want none without a line", len(s.Flows), s.Virtual, s.Arrivals)
		}
		return nil
	}
	if !(s.Virtual >= 0 && s.Virtual <= maxTag) || s.Arrivals < 0 || s.Arrivals > 1<<53 || len(s.Flows) > maxFlows {
		return fmt.Errorf("bucket: state: virtual %v, arrivals %d, %d tags: out of range", s.Virtual, s.Arrivals, len(s.Flows))
	}
	names, arrivals := make(map[string]bool, len(s.Line)), make(map[int64]bool, len(s.Line))
	for i := range s.Line {
		p := &s.Line[i]
		if err := p.check(len(s.Buckets), s.Arrivals); err != nil {
			return fmt.Errorf("bucket: state: place %d: %w", i, err)
		}
		if names[p.ID] || arrivals[p.Arrival] {
			return fmt.Errorf("bucket: state: place %d: id %.40q or arrival %d is there twice", i, p.ID, p.Arrival)
		}
		names[p.ID], arrivals[p.Arrival] = true, true
		if i > 0 && comparePlaces(&s.Line[i-1], p) >= 0 {
			return fmt.Errorf("bucket: state: place %d is out of order", i)
		}
	}
	clear(names)
	for i := range s.Flows {
		f := &s.Flows[i]
		if names[f.Name] || f.Name != "" && !ValidName(f.Name) || !(math.Abs(f.Finish) <= maxTag) {
			return fmt.Errorf("bucket: state: tag %d: flow %.40q, finish %v: a bad name, there twice or out of range", i, f.Name, f.Finish)
		}
		names[f.Name] = true
	}
	return nil
}

func (p *Place) check(buckets int, arrivals int64) error {
	switch {
	case !ValidName(p.ID) || p.Flow != "" && !ValidName(p.Flow):
		return fmt.Errorf("id %.40q, flow %.40q: want valid names", p.ID, p.Flow)
	case !(math.Abs(p.Start) <= maxTag && p.Span >= 0 && p.Span <= maxTag):
		return fmt.Errorf("start %v, span %v: out of range", p.Start, p.Span)
	case p.Arrival < 0 || p.Arrival >= arrivals:
		return fmt.Errorf("arrival %d: want 0 to below %d", p.Arrival, arrivals)
	case p.Since < 0 || p.Since > MaxInstant || p.Due < 0 || p.Due > MaxInstant+MaxSpan || p.Lease < p.Due || p.Lease > MaxInstant+2*MaxSpan:
		return fmt.Errorf("since %d, due %d, lease %d: out of range", p.Since, p.Due, p.Lease)
	case len(p.Cost) != buckets:
		return fmt.Errorf("%d costs for %d buckets", len(p.Cost), buckets)
	}
	for _, c := range p.Cost {
		if !(c >= 0 && c <= MaxUnits) {
			return fmt.Errorf("cost %v: want 0 to %g", c, float64(MaxUnits))
		}
	}
	return nil
}

func (s *State) checkBatches() error {
	if len(s.Batches) > MaxBatches {
		return fmt.Errorf("bucket: state: %d batches: at most %d are kept", len(s.Batches), MaxBatches)
	}
	for i := range s.Batches {
		b := &s.Batches[i]
		if !ValidName(b.ID) || b.At < 0 || b.At > MaxInstant || strings.Trim(b.Effects, "01") != "" {
			return fmt.Errorf("bucket: state: batch %d: id %.40q, at %d, effects %.40q: out of range", i, b.ID, b.At, b.Effects)
		}
		for j := range i {
			if clientOf(s.Batches[j].ID) == clientOf(b.ID) {
				return fmt.Errorf("bucket: state: batch %d: client %.40q is there twice", i, clientOf(b.ID))
			}
		}
	}
	return nil
}
