package bucket

// Forecast says when a place of the line should be granted, and what it waits for.
type Forecast struct {
	// In is the span from now, at most [MaxSpan].
	In Micros
	// Quota is the index in [State.Buckets] of the bucket that will cover the place last; -1 if none is short: the end of
	// a block is waited for, or the next poll.
	Quota int
}

// Expect says when each place of the line should be granted, in the order of the line: once the level
// has covered its cost and those of all places ahead of it in every bucket that it names. It is a forecast: nobody joins
// ahead, nothing is given back, every place asks in time, and no bucket spills over while the line is served. It
// changes nothing.
func (s *State) Expect(now Micros) []Forecast {
	t := max(s.At, min(now, MaxInstant))
	from := max(t, s.Blocked) // what waits for the end of a block finds the buckets refilled to it
	forecasts := make([]Forecast, len(s.Line))
	sums := make([]float64, len(s.Buckets))
	for i := range s.Line {
		longest, quota := 0.0, -1
		for j, c := range s.Line[i].Cost {
			if c == 0 {
				continue
			}
			b := &s.Buckets[j]
			sums[j] += c
			if short := float64((sums[j]-b.levelAfter(from-s.At))*float64(b.Per)) / b.Rate(); !(short <= longest) {
				longest, quota = short, j
			}
		}
		in := MaxSpan
		if longest < float64(MaxSpan) { // also false for a NaN
			in = min(MaxSpan, from-t+Micros(longest))
		}
		forecasts[i] = Forecast{in, quota}
	}
	return forecasts
}
