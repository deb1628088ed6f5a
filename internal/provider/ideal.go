package provider

import (
	"math"
	"time"
)

// Ideal is the least time in which limits let requests and tokens through, whoever asks and however well:
//
//	max over every limited resource of max(0, (amount − burst) · window / limit)
//
// since no more than burst + limit/window · t is admitted in a time t that starts with nothing used. It is the time
// until the last request is admitted; that request's own latency comes on top. It is computed from the limits alone.
func Ideal(limits Limits, minute time.Duration, requests, tokens int64) time.Duration {
	return Work{Requests: requests, Tokens: tokens}.Ideal(limits, minute)
}

// Ideal is the least time in which limits let w through; see the function [Ideal].
func (w Work) Ideal(limits Limits, minute time.Duration) time.Duration {
	var least float64
	for q := quota(0); q < numQuotas; q++ {
		if limit := q.limit(limits); limit > 0 {
			beyond := q.of(w) - q.burst(limits)
			least = math.Max(least, beyond*float64(q.window(minute))/limit)
		}
	}
	return time.Duration(least)
}
