package provider

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The audit's running sums must equal what the whole history says, interval by interval.
func TestAuditEqualsTheWholeHistory(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 50 {
		limits := Limits{TokensPerMinute: 600}
		var a audit
		a.resize(tokensMinute, 600, time.Minute, start)
		now := start
		var history []entry
		var heaviest, peak float64
		for range 120 {
			now = now.Add(time.Duration(rng.Int64N(int64(5 * time.Second))))
			amount := float64(rng.IntN(100) + 1)
			if rng.IntN(4) == 0 {
				amount = -amount
			}
			a.record(tokensMinute, now, amount)
			history = append(history, entry{now, amount})
			if amount > 0 {
				a.check(Work{Tokens: int64(amount)}, limits, 0)
				heaviest = max(heaviest, heaviestEndingNow(history, 10/float64(time.Second)))
			}
			peak = max(peak, sumOfLast(history, time.Minute))
		}
		s := a[tokensMinute]
		if math.Abs(s.heaviest-heaviest) > 1e-6 {
			t.Fatalf("heaviest interval %v, the history says %v", s.heaviest, heaviest)
		}
		if s.peak != peak {
			t.Fatalf("peak minute %v, the history says %v", s.peak, peak)
		}
	}
}

// heaviestEndingNow tries every interval that ends with the last entry.
func heaviestEndingNow(history []entry, rate float64) float64 {
	end := history[len(history)-1].at
	var heaviest, sum float64
	for i := len(history) - 1; i >= 0; i-- {
		sum += history[i].amount
		heaviest = max(heaviest, sum-rate*float64(end.Sub(history[i].at)))
	}
	return heaviest
}

func sumOfLast(history []entry, window time.Duration) float64 {
	end := history[len(history)-1].at
	var sum float64
	for _, e := range history {
		if end.Sub(e.at) < window {
			sum += e.amount
		}
	}
	return sum
}

// A meter that lets too much through must not go unnoticed.
func TestAuditSeesABrokenMeter(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := newAccount("m", Limits{RequestsPerMinute: 60}, true, time.Minute, start)
	ask := admission{charge: Work{Requests: 1}}
	for range 60 {
		if !a.admit(start, ask).admitted {
			t.Fatal("refused within the burst")
		}
	}
	if w := a.snapshot().Windows["requests/minute"]; w.Violations != 0 || w.Heaviest != 60 || w.PeakMinute != 60 {
		t.Fatalf("honest meter: %+v, want no violations and 60 at once", w)
	}
	a.meters[requestsMinute].used = 30 // forgets half
	if !a.admit(start.Add(time.Second), ask).admitted {
		t.Fatal("the broken meter refused")
	}
	if w := a.snapshot().Windows["requests/minute"]; w.Violations != 0 {
		t.Fatalf("60 requests, then one a second later, are within the limit: %+v", w)
	}
	if !a.admit(start.Add(time.Second), ask).admitted {
		t.Fatal("the broken meter refused")
	}
	if w := a.snapshot().Windows["requests/minute"]; w.Violations != 1 || w.Heaviest != 61 {
		t.Fatalf("broken meter: %+v, want one violation of 61 beyond the rate", w)
	}
}

// Whatever is asked, corrected and resized, the account and its audit agree that nothing passed the limit.
func TestAccountNeverExceedsItsLimits(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := newAccount("m", Limits{RequestsPerMinute: 100, TokensPerMinute: 5000, RequestsPerDay: 9000}, true, time.Minute, now)
	var open []Work
	accepted := 0
	for range 20_000 {
		now = now.Add(time.Duration(rng.Int64N(int64(600 * time.Millisecond))))
		switch rng.IntN(4) {
		case 0:
			if len(open) > 0 {
				charged := open[0]
				open = open[1:]
				a.correct(now, charged, Work{Requests: 1, Tokens: rng.Int64N(charged.Tokens + 1)})
			}
		default:
			w := Work{Requests: 1, Tokens: 1 + rng.Int64N(400)}
			if a.admit(now, admission{charge: w}).admitted {
				open = append(open, w)
				accepted++
			}
		}
		if rng.IntN(2000) == 0 {
			limits := Limits{RequestsPerMinute: 50 + rng.Int64N(100), TokensPerMinute: 500 + rng.Int64N(9000), RequestsPerDay: 9000}
			a.setLimits(limits, true, time.Minute, now)
		}
	}
	if accepted < 1000 {
		t.Fatalf("only %d requests were accepted: the test says little", accepted)
	}
	for name, w := range a.snapshot().Windows {
		if w.Violations != 0 {
			t.Errorf("%s: %+v, want no violations", name, w)
		}
	}
}
