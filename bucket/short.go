package bucket

// shortest is how many quotas [State.grant] has room for.
const shortest = 8

// grant is the short way of an acquire on a key where nobody waits and nothing is blocked, and whose buckets are exactly
// those of l: each level is worked out once. It returns false, having changed nothing, if a level is too low. What it
// computes is bit for bit what the long way computes.
func (s *State) grant(t Micros, l *Limits, o *Op) bool {
	var levels [shortest]float64
	dt := t - s.At
	for i := range s.Buckets {
		b := &s.Buckets[i]
		level := b.Level
		if dt > 0 {
			level = b.levelAfter(dt)
		}
		if c := o.cost(l.resourceOf[i]); c != 0 {
			if level < c {
				return false
			}
			level -= c
		}
		levels[i] = level
	}
	for i := range s.Buckets {
		s.Buckets[i].Level = levels[i]
	}
	s.At = t
	return true
}

// Timeless says whether an operation does the same to the key whatever the time is, but for how a refill is rounded: an
// adjustment that takes nothing, under the limits the state has, while nobody waits. A credit and the refill that is due
// come to the same in either order, the burst included. A driver may then apply it at [State.At], which spares it a look
// at its clock.
func (s *State) Timeless(l *Limits, o *Op) bool {
	if o.Kind != Adjust || len(s.Line) > 0 || s.aligned != l || l == nil {
		return false
	}
	for _, c := range o.Cost {
		if !(c >= 0) {
			return false
		}
	}
	return true
}

// credit is the short way of an adjust on a key where nobody waits and whose buckets are exactly those of l.
func (s *State) credit(t Micros, l *Limits, o *Op, sign float64) {
	dt := t - s.At
	for i := range s.Buckets {
		b := &s.Buckets[i]
		level := b.Level
		if dt > 0 {
			level = b.levelAfter(dt)
		}
		if c := o.cost(l.resourceOf[i]); c != 0 {
			level = min(level+float64(sign*c), b.Cap())
		}
		b.Level = level
	}
	s.At = t
}
