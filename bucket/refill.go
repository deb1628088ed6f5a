package bucket

import "math"

// levelAfter returns the level dt after the state's At: level + limit·dt/period, at most the burst. A dt below zero (a
// stale now) refills nothing.
func (b *Bucket) levelAfter(dt Micros) float64 {
	level := b.Level
	if dt > 0 {
		level += float64(b.Rate()*float64(dt)) / float64(b.Per) // the conversion forbids a fused multiply-add
	}
	return min(level, b.Cap())
}

// timeTo returns the least dt at which levelAfter(dt) reaches need, which must be at most the burst; [MaxSpan] if that
// is further away. The estimate by division is off by the rounding of a level, which can be many microseconds for a
// large level and a small rate, so it is corrected by a galloping search: levelAfter never falls.
func (b *Bucket) timeTo(need float64) Micros {
	if b.Level >= need {
		return 0
	}
	estimate := math.Ceil(float64((need-b.Level)*float64(b.Per)) / b.Rate())
	if !(estimate < float64(MaxSpan)) {
		return MaxSpan
	}
	fails, holds := Micros(0), Micros(estimate) // levelAfter(fails) < need <= levelAfter(holds)
	if b.levelAfter(holds) >= need {
		for step := Micros(1); holds-step > 0; step *= 2 {
			if b.levelAfter(holds-step) < need {
				fails = holds - step
				break
			}
			holds -= step
		}
	} else {
		for step := Micros(1); b.levelAfter(holds) < need; step *= 2 {
			fails, holds = holds, holds+step
			if holds >= MaxSpan {
				return MaxSpan
			}
		}
	}
	for holds-fails > 1 {
		if mid := fails + (holds-fails)/2; b.levelAfter(mid) >= need {
			holds = mid
		} else {
			fails = mid
		}
	}
	return holds
}

// later adds a span to an instant; a span that timeTo couldn't measure gives Forever.
func later(at, span Micros) Micros {
	if span >= MaxSpan {
		return Forever
	}
	return at + span
}

// advance refills every bucket up to now and makes now the instant of the levels. A stale now changes nothing.
func (s *State) advance(now Micros) {
	if now <= s.At {
		return
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		b.Level = b.levelAfter(now - s.At)
	}
	s.At = now
}

// Full is how long the bucket takes, from the state's At, to refill to its burst; 0 if it is full.
func (b *Bucket) Full() Micros { return b.timeTo(b.Cap()) }
