package llm

import (
	"math"
	"sync"
)

// Shape of a [Quantiles]: what is remembered of each family is a histogram of logBuckets counters, each 2^(1/4) (19 %)
// wider than the one before, from 1 to 2^24.
const (
	logBuckets      = 24*bucketsAnOctave + 1
	bucketsAnOctave = 4
	maxFamilies     = 4096
)

// QuantileOptions says what a [Quantiles] learns.
type QuantileOptions struct {
	// Quantile that is estimated, above 0 and at most 1.
	Quantile float64
	// Start is the estimate for a family of which nothing is known. It weighs as much as StartWeight observations and
	// so fades as observations come.
	Start       float64
	StartWeight float64
	// HalfLife is the number of observations after which one weighs half as much.
	HalfLife float64
}

// Quantiles learns a quantile of a positive number for each of many families, such as the output tokens that a model
// really produces. Old observations fade. Memory is bounded: about 800 bytes a family, and families beyond 4,096 share
// one record.
//
// An estimate is the upper edge of a histogram bucket, so it is never below the true quantile of the (decayed)
// observations and at most 19 % above it. It is safe for concurrent use.
type Quantiles struct {
	opts  QuantileOptions
	decay float64

	mu       sync.Mutex
	families map[string]*histogram
	rest     *histogram
}

type histogram struct {
	weight [logBuckets]float64
	total  float64
}

// NewQuantiles returns a Quantiles with nothing learned.
func NewQuantiles(opts QuantileOptions) *Quantiles {
	q := &Quantiles{opts: opts, decay: math.Exp2(-1 / opts.HalfLife), families: map[string]*histogram{}}
	q.rest = q.fresh()
	return q
}

func (q *Quantiles) fresh() *histogram {
	h := &histogram{total: q.opts.StartWeight}
	h.weight[bucketOf(q.opts.Start)] = q.opts.StartWeight
	return h
}

// Observe adds what was really used. Values that are negative or no number are passed over.
func (q *Quantiles) Observe(family string, value float64) {
	if !(value >= 0) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.families[family]
	if h == nil {
		if len(q.families) >= maxFamilies {
			h = q.rest
		} else {
			h = q.fresh()
			q.families[family] = h
		}
	}
	for i := range h.weight {
		h.weight[i] *= q.decay
	}
	h.weight[bucketOf(value)]++
	h.total = h.total*q.decay + 1
}

// Estimate returns the quantile for a family, at least 1.
func (q *Quantiles) Estimate(family string) float64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := q.families[family]
	if h == nil {
		if len(q.families) < maxFamilies {
			return q.opts.Start
		}
		h = q.rest
	}
	// The weights don't add up to the total exactly, so that the last bucket needs some tolerance.
	below, want := 0.0, h.total*q.opts.Quantile*(1-1e-9)
	for i, w := range h.weight {
		if below += w; below >= want {
			return edge(i)
		}
	}
	return edge(logBuckets - 1)
}

// bucketOf is the bucket whose edge is the first at or above v.
func bucketOf(v float64) int {
	if v <= 1 {
		return 0
	}
	if v >= 1<<24 {
		return logBuckets - 1
	}
	// The tolerance keeps an exact edge in its own bucket whatever Log2 rounds to.
	i := int(math.Ceil(math.Log2(v)*bucketsAnOctave - 1e-9))
	return min(i, logBuckets-1)
}

func edge(i int) float64 { return math.Ceil(math.Exp2(float64(i)/bucketsAnOctave) - 1e-6) }
