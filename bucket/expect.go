package bucket

// Expect says when each place of the line should be granted, as spans from now, in the order of the line: once the level
// has covered its cost and those of all places ahead of it in every bucket that it names. It is a forecast: nobody joins
// ahead, nothing is given back, every place asks in time, and no bucket spills over while the line is served. [MaxSpan]
// is the most it says. It changes nothing.
func (s *State) Expect(now Micros) []Micros {
	t := max(s.At, min(now, MaxInstant))
	from := max(t, s.Blocked) // what waits for the end of a block finds the buckets refilled to it
	spans := make([]Micros, len(s.Line))
	sums := make([]float64, len(s.Buckets))
	for i := range s.Line {
		longest := 0.0
		for j, c := range s.Line[i].Cost {
			if c == 0 {
				continue
			}
			b := &s.Buckets[j]
			sums[j] += c
			longest = max(longest, float64((sums[j]-b.levelAfter(from-s.At))*float64(b.Per))/b.Rate())
		}
		spans[i] = MaxSpan
		if longest < float64(MaxSpan) { // also false for a NaN
			spans[i] = min(MaxSpan, from-t+Micros(longest))
		}
	}
	return spans
}
