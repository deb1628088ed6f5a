package llm

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, v := range []struct {
		header map[string]string
		want   time.Duration
		ok     bool
	}{
		{nil, 0, false},
		{map[string]string{"Retry-After": "20"}, 20 * time.Second, true},
		{map[string]string{"Retry-After": " 0.5 "}, 500 * time.Millisecond, true},
		{map[string]string{"Retry-After": "0"}, 0, true},
		{map[string]string{"Retry-After-Ms": "250", "Retry-After": "1"}, 250 * time.Millisecond, true},
		{map[string]string{"Retry-After-Ms": "soon", "Retry-After": "1"}, time.Second, true},
		{map[string]string{"Retry-After": date(90 * time.Second)}, 90 * time.Second, true},
		{map[string]string{"Retry-After": date(-time.Hour)}, 0, true},
		{map[string]string{"Retry-After": date(90 * time.Second), "Date": date(60 * time.Second)}, 30 * time.Second, true},
		{map[string]string{"Retry-After": "31536000000"}, MaxWait, true}, // a thousand years
		{map[string]string{"Retry-After": "1e300"}, MaxWait, true},
		{map[string]string{"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, MaxWait, true},
		{map[string]string{"Retry-After": "-5"}, 0, false},
		{map[string]string{"Retry-After": "NaN"}, 0, false},
		{map[string]string{"Retry-After": "Inf"}, 0, false},
		{map[string]string{"Retry-After": "next week"}, 0, false},
	} {
		h := http.Header{}
		for k, value := range v.header {
			h.Set(k, value)
		}
		if got, ok := RetryAfter(h, now); got != v.want || ok != v.ok {
			t.Errorf("%v: %v, %v; want %v, %v", v.header, got, ok, v.want, v.ok)
		}
	}
}

func TestParseReset(t *testing.T) {
	for v, want := range map[string]time.Duration{
		"1s": time.Second, "6m0s": 6 * time.Minute, "20ms": 20 * time.Millisecond, "1h0m0s": time.Hour, "7m12s": 432 * time.Second,
		"1m26.4s": 86400 * time.Millisecond, "60": time.Minute, "0.25": 250 * time.Millisecond, "1d": 24 * time.Hour, "1d2h": MaxWait, "0d3h": 3 * time.Hour,
		"": 0, "0s": 0, "-5s": 0, "soon": 0, "1e99h": 0, "99999999h": 0, "9999h": MaxWait, "d": 0, "1dx": 0,
	} {
		if got := ParseReset(v); got != want {
			t.Errorf("ParseReset(%q) = %v, want %v", v, got, want)
		}
	}
}

func TestParseAmount(t *testing.T) {
	for v, want := range map[string]float64{"60": 60, " 150000 ": 150000, "30,000": 30000, "0": 0, "1.5": 1.5} {
		if got, ok := ParseAmount(v); got != want || !ok {
			t.Errorf("ParseAmount(%q) = %v, %v", v, got, ok)
		}
	}
	for _, v := range []string{"", "-1", "many", "NaN", "Inf"} {
		if got, ok := ParseAmount(v); ok {
			t.Errorf("ParseAmount(%q) = %v, want unknown", v, got)
		}
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add("20", "250", "6m0s")
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT", "", "1d2h")
	f.Fuzz(func(t *testing.T, after, ms, reset string) {
		h := http.Header{"Retry-After": {after}, "Retry-After-Ms": {ms}, "Date": {reset}}
		if d, _ := RetryAfter(h, time.Unix(0, 0)); d < 0 || d > MaxWait {
			t.Errorf("RetryAfter: %v", d)
		}
		if d := ParseReset(reset); d < 0 || d > MaxWait {
			t.Errorf("ParseReset: %v", d)
		}
		if n, ok := ParseAmount(after); ok && !(n >= 0) {
			t.Errorf("ParseAmount: %v", n)
		}
	})
}
