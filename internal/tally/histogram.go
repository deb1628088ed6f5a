package tally

import "slices"

// The upper bounds of the histograms.
var (
	// WaitBounds are in seconds: a call waits from a moment to an hour.
	WaitBounds = []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600}
	// StoreBounds are in seconds: from a local Redis to the store timeout and beyond.
	StoreBounds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// BatchBounds are numbers of families or operations.
	BatchBounds = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}

	ratioBounds = [...]float64{.05, .1, .25, .5, .75, .9, 1, 1.1, 1.25, 1.5, 2, 5}
)

// ratioOne is the bucket of what was estimated right.
const ratioOne = 6

// ratios is the histogram of usage ratios, which is counted in at each settlement.
type ratios struct {
	counts [len(ratioBounds) + 1]uint64
	sum    float64
}

func (h *ratios) observe(v float64) {
	i := 0
	for i < len(ratioBounds) && v > ratioBounds[i] {
		i++
	}
	h.counts[i]++
	h.sum += v
}

// Histogram counts values by upper bounds, which belong to their buckets.
type Histogram struct {
	Bounds []float64
	// Counts has one more than Bounds: what is above all of them.
	Counts []uint64
	Sum    float64
}

func newHistogram(bounds []float64) *Histogram {
	return &Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
}

func (h *Histogram) observe(v float64) {
	i := 0
	for i < len(h.Bounds) && v > h.Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += v
}

// Count is how many values there were.
func (h *Histogram) Count() uint64 {
	n := uint64(0)
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Cumulative is, for each bound, how many values were up to it: what Prometheus calls buckets.
func (h *Histogram) Cumulative() map[float64]uint64 {
	m := make(map[float64]uint64, len(h.Bounds))
	n := uint64(0)
	for i, b := range h.Bounds {
		n += h.Counts[i]
		m[b] = n
	}
	return m
}

func (h *Histogram) clone() *Histogram {
	return &Histogram{Bounds: h.Bounds, Counts: slices.Clone(h.Counts), Sum: h.Sum}
}
