package llm

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxWait caps what a server may ask to wait: a day, the longest period that a provider's limits have. A longer one, by
// fault or by malice, would stop a fleet for good.
const MaxWait = 24 * time.Hour

// RetryAfter returns how long a server asks to wait before the next try, from 0 to [MaxWait], and false if it does not
// say or cannot be understood. Headers, the first that is understood counts: retry-after-ms (milliseconds), Retry-After
// (seconds, or a date, which is compared with the server's own Date so that the client's clock doesn't matter; now
// stands in for a missing one).
//
// Sources: RFC 9110, section 10.2.3; retry-after-ms: Azure OpenAI and the official SDKs.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	if ms, ok := positive(h.Get("retry-after-ms")); ok {
		return capWait(ms * float64(time.Millisecond)), true
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, ok := positive(v); ok {
		return capWait(s * float64(time.Second)), true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return capWait(float64(at.Sub(now))), true // Sub saturates, so that a far date can't overflow
}

func positive(v string) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
	if err != nil || !(f >= 0) || math.IsInf(f, 1) {
		return 0, false
	}
	return f, true
}

func capWait(ns float64) time.Duration {
	return time.Duration(max(0, min(ns, float64(MaxWait))))
}

// Limit is what a server says of one of its limits. Zero values are unknown, except Remaining, for which HasRemaining
// says it.
type Limit struct {
	// Limit is how much fits in the period.
	Limit float64
	// Remaining is how much is left of it, at least 0.
	Remaining    float64
	HasRemaining bool
	// Reset is how long it takes until all of it is left again, at most [MaxWait]; it is no time to wait before a retry.
	Reset time.Duration
}

// ReadLimit reads a limit and what remains of it from the headers of these names. A remainder without a limit above 0 is
// unknown: servers that have no limit state -1 or 0.
func ReadLimit(h http.Header, limit, remaining string) (l Limit) {
	if n, ok := ParseAmount(h.Get(limit)); ok {
		l.Limit = n
	}
	if n, ok := ParseAmount(h.Get(remaining)); ok && (n > 0 || l.Limit > 0) {
		l.Remaining, l.HasRemaining = n, true
	}
	return l
}

// ParseAmount reads a limit or a remainder: a decimal number, perhaps with commas between thousands. What is negative or
// no number is unknown.
func ParseAmount(v string) (float64, bool) {
	return positive(strings.ReplaceAll(v, ",", ""))
}

// ParseReset reads a time until something resets: a duration like 6m0s, 20ms or 1h0m0s, or seconds as a bare number. It
// is 0, unknown, if it is neither or negative.
func ParseReset(v string) time.Duration {
	v = strings.TrimSpace(v)
	if s, ok := positive(v); ok {
		return capWait(s * float64(time.Second))
	}
	if days, rest, found := strings.Cut(v, "d"); found {
		n, ok := positive(days)
		d, err := time.ParseDuration("0s" + rest)
		if !ok || err != nil {
			return 0
		}
		return capWait(n*float64(24*time.Hour) + float64(d))
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0
	}
	return capWait(float64(d))
}
