package llm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func newTestQuantiles(quantile float64) *Quantiles {
	return NewQuantiles(QuantileOptions{Quantile: quantile, Start: 1000, StartWeight: 5, HalfLife: 1000})
}

func TestQuantilesStart(t *testing.T) {
	q := newTestQuantiles(0.95)
	if got := q.Estimate("new"); got != 1000 {
		t.Errorf("nothing known: %v, want 1000", got)
	}
	q.Observe("a", 10)
	if got := q.Estimate("a"); got < 1000 || got > 1200 {
		t.Errorf("after one observation of 10: %v, want the start still", got)
	}
	for range 200 {
		q.Observe("a", 10)
	}
	if got := q.Estimate("a"); got < 10 || got > 12 {
		t.Errorf("after 200 observations of 10: %v", got)
	}
	if got := q.Estimate("b"); got != 1000 {
		t.Errorf("another family: %v", got)
	}
}

func TestQuantilesAreNeverBelow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, quantile := range []float64{0.5, 0.9, 0.95, 1} {
		q := NewQuantiles(QuantileOptions{Quantile: quantile, Start: 1, StartWeight: 0, HalfLife: 1e12})
		var values []float64
		for range 5000 {
			v := math.Floor(math.Exp(rng.NormFloat64()*1.5 + 5))
			values = append(values, v)
			q.Observe("a", v)
		}
		slices.Sort(values)
		want := values[int(math.Ceil(quantile*5000))-1]
		if got := q.Estimate("a"); got < want || got > want*1.2+1 {
			t.Errorf("quantile %v is %v, estimated %v", quantile, want, got)
		}
	}
}

func TestQuantilesForget(t *testing.T) {
	q := newTestQuantiles(0.95)
	for range 5000 {
		q.Observe("a", 4000)
	}
	for range 6000 {
		q.Observe("a", 100)
	}
	if got := q.Estimate("a"); got > 120 {
		t.Errorf("long after the answers became short: %v", got)
	}
}

func TestQuantilesAreBounded(t *testing.T) {
	q := newTestQuantiles(0.5)
	for i := range maxFamilies * 2 {
		q.Observe(fmt.Sprint("hostile-", i), 50)
	}
	if len(q.families) > maxFamilies {
		t.Errorf("%d families kept", len(q.families))
	}
	for _, v := range []float64{-1, math.NaN(), math.Inf(1), math.MaxFloat64, 0} {
		q.Observe("odd", v)
		if got := q.Estimate("odd"); !(got >= 1 && got <= 1<<24) {
			t.Errorf("after %v: %v", v, got)
		}
	}
}
