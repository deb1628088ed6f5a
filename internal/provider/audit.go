package provider

import "time"

// audit counts what was let through, apart from the meters: it keeps sums over time where they keep levels. So a
// mistake in the meters shows here as a violation.
type audit [numQuotas]series

// series is the history of one limit.
type series struct {
	rate float64 // units a nanosecond
	last time.Time

	// balance is everything charged so far less rate · time, and lowest the least it has been. The heaviest interval
	// that ends now, less what the rate allows in it, is their difference: it must not exceed the burst.
	balance, lowest float64
	heaviest        float64
	violations      int64

	// recent holds the charges and corrections of the last minute and sum their total.
	window time.Duration
	recent []entry
	sum    float64
	peak   float64
}

type entry struct {
	at     time.Time
	amount float64
}

func (a *audit) resize(q quota, limit float64, window time.Duration, now time.Time) {
	s := &a[q]
	s.advance(now)
	s.window = window
	if q.perDay() {
		s.window = window / minutesPerDay
	}
	if s.rate == 0 || limit == 0 {
		// What was let through while there was no limit is no excess.
		s.lowest = s.balance
	}
	s.rate = limit / float64(window)
}

// advance lets the rate's share of the time since the last call pass.
func (s *series) advance(now time.Time) {
	if elapsed := now.Sub(s.last); elapsed > 0 {
		if !s.last.IsZero() {
			s.balance -= s.rate * float64(elapsed)
		}
		s.last = now
	}
	s.lowest = min(s.lowest, s.balance)
}

// record adds a charge, or a correction when amount is negative.
func (a *audit) record(q quota, now time.Time, amount float64) {
	s := &a[q]
	s.advance(now)
	s.balance += amount
	s.lowest = min(s.lowest, s.balance)
	s.slide(amount)
}

// slide adds amount to the window that ends at s.last and drops what has left it.
func (s *series) slide(amount float64) {
	gone := 0
	for gone < len(s.recent) && s.last.Sub(s.recent[gone].at) >= s.window {
		s.sum -= s.recent[gone].amount
		gone++
	}
	s.recent = append(s.recent[gone:], entry{s.last, amount})
	s.sum += amount
	s.peak = max(s.peak, s.sum)
}

// check compares each limit that charge touched with what may have passed it in any interval up to now.
func (a *audit) check(charge Work, limits Limits, tolerance time.Duration) {
	for q := range a {
		s, q := &a[q], quota(q)
		if s.rate == 0 || q.of(charge) == 0 {
			continue
		}
		heavy := s.balance - s.lowest
		s.heaviest = max(s.heaviest, heavy)
		if heavy > q.burst(limits)+s.rate*float64(tolerance)+auditDust {
			s.violations++
		}
	}
}

// auditDust is what float64 may lose in balance over a long run, in units.
const auditDust = 1e-3
