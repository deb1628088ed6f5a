package main

import (
	"fmt"
	"slices"
)

// What counts as flat. A straight line is laid through the samples, by the median of the slopes between any two of them
// (Theil and Sen), so that a few that fell into a pause don't tilt it. What it rises by from the first sample to the last
// is at most this part of the mean, or, where that is less, at most the measure's slack.
const steepest = 0.05

// A process warms up for 12 of 30 minutes: the slowest store, memory, is swept after five and has its level then, and the
// process's own memory needs some more. After a long stall, during which nothing came and what was idle was dropped, two minutes are left out. A tenth of
// the time, at least, has to remain.
const (
	warmUp    = 0.4
	again     = 1.0 / 15
	atLeast   = 0.1
	longStall = 5.0 // seconds
)

// keep is for how long, in seconds, a store may hold a key that was used once: until it has refilled, at most ten seconds,
// and what the driver says of it. At no time may there be more keys than came in so long: thus a soak that stalled can be
// judged too, as a line through it can't.
var keep = map[string]float64{
	"memory":   300, // swept after so many operations as there are keys
	"redis":    120, // expires when no batch is remembered any more, a minute later
	"postgres": 240, // a minute until no batch is remembered, a minute's margin, and twice up to one and a half until it is looked for, the second time seldom
}

// steady are the samples that were taken after the warm-up, and how many seconds they stand for.
func steady(samples []Sample, length float64) (after []Sample, span float64) {
	begin, last := warmUp*length, 0.0
	for _, s := range samples {
		if s.Stalled >= longStall {
			begin = max(begin, s.Seconds+again*length)
		}
		if s.Seconds >= begin {
			after = append(after, s)
			span += s.Seconds - last
		}
		last = s.Seconds
	}
	return after, span
}

// most finds the sample that has most keys for those that came lately.
func most(samples []Sample, keep float64) (held, came float64) {
	for i, s := range samples {
		worked, j := 0.0, i
		for j > 0 && worked < keep {
			worked += samples[j].Seconds - samples[j-1].Seconds - samples[j].Stalled
			j--
		}
		n, ok := s.Measures[keys]
		if lately := float64(s.Came - samples[j].Came); ok && worked >= keep && n*came >= held*lately {
			held, came = n, lately
		}
	}
	return held, came
}

var slack = map[string]float64{heap: 256 << 10, rss: 1 << 20, goroutines: 2, connections: 1, keys: 20, size: 256 << 10}

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
	// Most keys there were for those that came lately, and how many that was; for keys alone, instead of the line.
	Most float64 `json:"most,omitempty"`
	Came float64 `json:"came,omitempty"`
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
		judged, span := steady(own, end.Length)
		if span < atLeast*end.Length {
			problem("%s: stalled too often: only %.0f s can be judged", end.Driver, span)
		}
		for _, measure := range measures {
			var x, y []float64
			for _, s := range judged {
				if value, ok := s.Measures[measure]; ok {
					x, y = append(x, s.Seconds), append(y, value)
				}
			}
			if len(x) == 0 {
				continue
			}
			f := Finding{Driver: end.Driver, Measure: measure}
			f.Mean, f.Rise = fit(x, y)
			f.Bound = max(steepest*f.Mean, slack[measure])
			f.Flat = f.Rise <= f.Bound
			if measure == keys {
				f.Most, f.Came = most(own, keep[end.Driver])
				f.Flat = f.Most <= f.Came+slack[keys] && f.Came > 0
			}
			switch {
			case !f.Flat && measure == keys && f.Came == 0:
				problem("%s: it took too little time for its keys to be judged", end.Driver)
			case !f.Flat && measure == keys:
				problem("%s: %.0f keys, though only %.0f came in the last %.0f s", end.Driver, f.Most, f.Came, keep[end.Driver])
			case !f.Flat:
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
		if lost := end.Lost - hotRate*end.Stalled; lost > 0.05*end.Allowed {
			problem("%s: %.0f of %.0f tokens were left over: the quota was not saturated", end.Driver, lost, end.Allowed)
		}
		if end.Left > 0 || end.Connections > 0 {
			problem("%s: %d goroutines and %d connections were left", end.Driver, end.Left, end.Connections)
		}
	}
	return v
}

// stall is how long the process has to be without a processor to excuse calls that fail then or soon after.
const stall = 1.0

// unexcused counts the calls that failed although the process was at work. A sample that is taken on waking may come
// before the pulse has beaten: then the next one tells of the stall.
func unexcused(samples []Sample) (n int) {
	stalled := func(i int) bool { return i >= 0 && i < len(samples) && samples[i].Stalled > stall }
	failed := 0
	for i, s := range samples {
		if !stalled(i-1) && !stalled(i) && !stalled(i+1) {
			n += s.Failed - failed
		}
		failed = s.Failed
	}
	return n
}

// fit returns the mean of y, and how much the line through it rises over all of x, which ascends.
func fit(x, y []float64) (mean, rise float64) {
	var slopes []float64
	for i := range x {
		mean += y[i] / float64(len(x))
		for j := range i {
			slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
		}
	}
	if len(slopes) == 0 {
		return mean, 0
	}
	slices.Sort(slopes)
	return mean, slopes[len(slopes)/2] * (x[len(x)-1] - x[0])
}
