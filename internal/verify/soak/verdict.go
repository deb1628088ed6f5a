package main

import (
	"fmt"
	"math"
	"slices"
)

// What counts as flat. After the warm-up a straight line is fitted to each measure by least squares; what it rises by, up
// to the end, is at most this part of the mean, or, where that is less, at most the measure's slack.
//
// The warm-up is half of 30 minutes because a row of Postgres's stays for ten after its last use; then it has to be found
// and vacuumed before its place is used again.
const (
	warmUp   = 0.5
	steepest = 0.05
)

var slack = map[string]float64{heap: 256 << 10, rss: 1 << 20, goroutines: 2, connections: 1, keys: 50, size: 256 << 10}

// measures are in the order of reports.
var measures = []string{heap, rss, goroutines, connections, keys, size}

// Finding is what one measure of one driver came to.
type Finding struct {
	Driver  string  `json:"driver"`
	Measure string  `json:"measure"`
	Mean    float64 `json:"mean"` // after the warm-up
	Rise    float64 `json:"rise"` // of the fitted line
	Bound   float64 `json:"bound"`
	Flat    bool    `json:"flat"`
}

// Verdict is what a soak's samples and ends show. Problems is empty if all is well.
type Verdict struct {
	Findings []Finding `json:"findings"`
	Ends     []End     `json:"ends"`
	Problems []string  `json:"problems,omitempty"`
}

func judge(samples []Sample, ends []End) Verdict {
	v := Verdict{Ends: ends}
	problem := func(format string, args ...any) { v.Problems = append(v.Problems, fmt.Sprintf(format, args...)) }
	for _, end := range ends {
		own := slices.DeleteFunc(slices.Clone(samples), func(s Sample) bool { return s.Driver != end.Driver })
		if len(own) == 0 {
			problem("%s: no samples", end.Driver)
			continue
		}
		length := own[len(own)-1].Seconds
		for _, measure := range measures {
			var x, y []float64
			for _, s := range own {
				if value, ok := s.Measures[measure]; ok && s.Seconds >= warmUp*length {
					x, y = append(x, s.Seconds), append(y, value)
				}
			}
			if len(x) == 0 {
				continue
			}
			f := Finding{Driver: end.Driver, Measure: measure}
			f.Mean, f.Rise = fit(x, y)
			f.Bound = max(steepest*f.Mean, slack[measure])
			if f.Flat = f.Rise <= f.Bound; !f.Flat {
				problem("%s: %s rose by %.4g from %.4g", end.Driver, measure, f.Rise, f.Mean-f.Rise/2)
			}
			v.Findings = append(v.Findings, f)
		}
		if n := unexcused(own); n > 0 {
			problem("%s: %d calls failed, the first with: %s", end.Driver, n, end.FirstFailure)
		}
		if end.Minted > 0 {
			problem("%s: %g tokens were minted", end.Driver, end.Minted)
		}
		if end.Lost > 0.1*end.Allowed {
			problem("%s: %.0f of %.0f tokens were left over: the quota was not saturated", end.Driver, end.Lost, end.Allowed)
		}
		if end.Left > 0 || end.Connections > 0 {
			problem("%s: %d goroutines and %d connections were left", end.Driver, end.Left, end.Connections)
		}
	}
	return v
}

// stall is how long the process has to be without a processor to excuse calls that fail then or soon after.
const stall = 1.0

// unexcused counts the calls that failed although the process was at work.
func unexcused(samples []Sample) (n int) {
	failed, stalled := 0, false
	for _, s := range samples {
		now := s.Stalled > stall
		if !now && !stalled {
			n += s.Failed - failed
		}
		failed, stalled = s.Failed, now
	}
	return n
}

// fit returns the mean of y, and how much the line of least squares through it rises over all of x.
func fit(x, y []float64) (mean, rise float64) {
	n := float64(len(x))
	var sx, sy float64
	for i := range x {
		sx, sy = sx+x[i], sy+y[i]
	}
	mx, my := sx/n, sy/n
	var sxx, sxy float64
	for i := range x {
		sxx += (x[i] - mx) * (x[i] - mx)
		sxy += (x[i] - mx) * (y[i] - my)
	}
	if sxx == 0 {
		return my, 0
	}
	rise = sxy / sxx * (x[len(x)-1] - x[0])
	if math.Abs(rise) < 1e-9*math.Abs(my) {
		rise = 0
	}
	return my, rise
}
