package openai

import "math"

// merger counts the tokens of a piece by byte pair encoding: of all neighbours the two whose union has the lowest rank in
// the vocabulary are joined, again and again, until none has one. It is kept for its memory, and for one goroutine.
type merger struct {
	starts []int32 // where the parts begin, and where the last one ends
	ranks  []int32 // rank of each part joined with the one behind it; unranked if it has none
}

const unranked = math.MaxInt32

// count returns the number of tokens of a piece, which is not empty and, for the time is quadratic in it, not long.
func (m *merger) count(piece string, ranks map[string]int) int {
	if _, whole := ranks[piece]; whole || len(piece) == 1 {
		return 1
	}
	rank := func(from, to int32) int32 {
		if r, known := ranks[piece[from:to]]; known {
			return int32(r)
		}
		return unranked
	}
	n := len(piece)
	m.starts, m.ranks = m.starts[:0], m.ranks[:0]
	for i := range n + 1 {
		m.starts = append(m.starts, int32(i))
	}
	for i := range n - 1 {
		m.ranks = append(m.ranks, rank(int32(i), int32(i+2)))
	}
	for len(m.ranks) > 0 {
		best := 0
		for i, r := range m.ranks {
			if r < m.ranks[best] {
				best = i
			}
		}
		if m.ranks[best] == unranked {
			break
		}
		m.starts = append(m.starts[:best+1], m.starts[best+2:]...)
		m.ranks = append(m.ranks[:best], m.ranks[best+1:]...)
		if best < len(m.ranks) {
			m.ranks[best] = rank(m.starts[best], m.starts[best+2])
		}
		if best > 0 {
			m.ranks[best-1] = rank(m.starts[best-1], m.starts[best+1])
		}
	}
	return len(m.starts) - 1
}
