package provider

import (
	"math"
	"time"
)

// dust is the part of a limit that rounding may leave in a meter: far below a nanosecond's refill and far above what
// float64 loses from one request to the next.
const dust = 1e-12

// meter counts what was used of one limit. Usage drains at limit/window. The zero value limits nothing.
type meter struct {
	limit  float64       // units a window; 0 is no limit
	burst  float64       // the most that may be in use
	window time.Duration // time in which limit drains
	used   float64       // units in use at at; above burst is debt, never below 0
	at     time.Time
}

func (m *meter) limited() bool { return m.limit > 0 }

// drain brings the meter to now. An earlier now changes nothing.
func (m *meter) drain(now time.Time) {
	elapsed := now.Sub(m.at)
	if elapsed <= 0 {
		return
	}
	m.at = now
	if !m.limited() {
		return
	}
	m.used = math.Max(0, m.used-m.limit*float64(elapsed)/float64(m.window))
}

// add charges amount, or gives it back when it is negative.
func (m *meter) add(amount float64) { m.used = math.Max(0, m.used+amount) }

// wait is how long until amount fits, zero when it does. It assumes amount ≤ burst.
func (m *meter) wait(amount float64) time.Duration {
	return m.timeToDrain(m.used + amount - m.burst)
}

// timeToRoom is how long until less than the burst is in use.
func (m *meter) timeToRoom() time.Duration {
	if m.used < m.burst {
		return 0
	}
	return m.timeToDrain(m.used-m.burst) + time.Nanosecond
}

// timeToDrain is how long units take to drain, rounded up to the nanosecond.
func (m *meter) timeToDrain(units float64) time.Duration {
	units -= dust * m.limit
	if units <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(units * float64(m.window) / m.limit))
}

// resize gives the meter new bounds and keeps what is in use.
func (m *meter) resize(limit, burst float64, window time.Duration) {
	m.limit, m.burst, m.window = limit, burst, window
	if limit == 0 {
		m.used = 0
	}
}
