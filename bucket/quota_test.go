package bucket_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

func TestQuotaValidate(t *testing.T) {
	ok := bucket.Quota{Resource: "tokens", Limit: 1, Per: minute}
	with := func(change func(*bucket.Quota)) bucket.Quota { q := ok; change(&q); return q }
	for _, c := range []struct {
		name string
		q    bucket.Quota
		says string // what the error must name; empty: valid
	}{
		{"plain", ok, ""},
		{"smallest and largest", bucket.Quota{Resource: "x", Limit: 5e-324, Per: bucket.MaxSpan, Burst: bucket.MaxUnits}, ""},
		{"no resource", with(func(q *bucket.Quota) { q.Resource = "" }), "resource"},
		{"long resource", with(func(q *bucket.Quota) { q.Resource = strings.Repeat("x", bucket.MaxName+1) }), "256 bytes"},
		{"control character", with(func(q *bucket.Quota) { q.Resource = "a\x00b" }), "control"},
		{"not UTF-8", with(func(q *bucket.Quota) { q.Resource = "\xff" }), "UTF-8"},
		{"limit 0", with(func(q *bucket.Quota) { q.Limit = 0 }), `"tokens": limit 0`},
		{"limit negative", with(func(q *bucket.Quota) { q.Limit = -1 }), "limit -1"},
		{"limit NaN", with(func(q *bucket.Quota) { q.Limit = math.NaN() }), "limit NaN"},
		{"limit infinite", with(func(q *bucket.Quota) { q.Limit = math.Inf(1) }), "limit +Inf"},
		{"limit huge", with(func(q *bucket.Quota) { q.Limit = 2 * bucket.MaxUnits }), "at most 1e+15"},
		{"period 0", with(func(q *bucket.Quota) { q.Per = 0 }), "period 0"},
		{"period negative", with(func(q *bucket.Quota) { q.Per = -1 }), "period -1"},
		{"period huge", with(func(q *bucket.Quota) { q.Per = bucket.MaxSpan + 1 }), "period"},
		{"burst negative", with(func(q *bucket.Quota) { q.Burst = -1 }), "burst -1"},
		{"burst NaN", with(func(q *bucket.Quota) { q.Burst = math.NaN() }), "burst NaN"},
		{"burst huge", with(func(q *bucket.Quota) { q.Burst = 2 * bucket.MaxUnits }), "burst"},
	} {
		err := c.q.Validate()
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want an error that says %q", c.name, err, c.says)
		}
		if _, err2 := bucket.NewLimits(c.q); (err2 == nil) != (err == nil) {
			t.Errorf("%s: NewLimits: %v, Validate: %v", c.name, err2, err)
		}
	}
}

func TestNewLimits(t *testing.T) {
	l := mustLimits(t,
		bucket.Quota{Resource: "tokens", Limit: 10, Per: minute, Burst: 3},
		bucket.Quota{Resource: "requests", Limit: 1000, Per: bucket.Day},
		bucket.Quota{Resource: "requests", Limit: 5, Per: second})
	if got := fmt.Sprint(l.Resources()); got != "[requests tokens]" || l.Len() != 3 {
		t.Errorf("resources %v of %d quotas", got, l.Len())
	}
	if q := l.Quota(0); q.Per != second || q.Burst != 5 || l.Quota(1).Per != bucket.Day || l.Quota(2).Burst != 3 {
		t.Errorf("order or bursts: %+v, %+v, %+v", l.Quota(0), l.Quota(1), l.Quota(2))
	}
	if l.ResourceOf(0) != 0 || l.ResourceOf(1) != 0 || l.ResourceOf(2) != 1 || l.Resource("tokens") != 1 || l.Resource("dollars") != -1 {
		t.Error("resource indexes")
	}
	if l.Find("requests", bucket.Day) != 1 || l.Find("requests", minute) != -1 || l.Find("dollars", minute) != -1 {
		t.Error("Find")
	}
	if _, err := bucket.NewLimits(tokens(), tokens()); err == nil || !strings.Contains(err.Error(), `two quotas of "tokens"`) {
		t.Errorf("twice the same: %v", err)
	}
	var many []bucket.Quota
	for i := range bucket.MaxQuotas + 1 {
		many = append(many, bucket.Quota{Resource: "x", Limit: 1, Per: bucket.Micros(i + 1)})
	}
	if _, err := bucket.NewLimits(many...); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Errorf("too many: %v", err)
	}
	if _, err := bucket.NewLimits(many[:bucket.MaxQuotas]...); err != nil {
		t.Errorf("as many as allowed: %v", err)
	}
	if l, err := bucket.NewLimits(); err != nil || l.Len() != 0 {
		t.Errorf("none: %v", err)
	}
	_, err := bucket.NewLimits(bucket.Quota{Resource: "a"}, bucket.Quota{Resource: "b", Limit: 1})
	if err == nil || !strings.Contains(err.Error(), `"a"`) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("two wrong quotas: want both named, got %v", err)
	}
}

func TestMicros(t *testing.T) {
	for d, want := range map[time.Duration]bucket.Micros{0: 0, 1: 1, 1000: 1, 1001: 2, time.Hour: bucket.Hour, -1: 0, -1001: -1, math.MaxInt64: 9223372036854776} {
		if got := bucket.MicrosOf(d); got != want {
			t.Errorf("MicrosOf(%d) = %d, want %d", d, got, want)
		}
	}
	for m, want := range map[bucket.Micros]time.Duration{0: 0, 1: time.Microsecond, bucket.Day: 24 * time.Hour, bucket.Forever: math.MaxInt64, -bucket.Forever: math.MinInt64} {
		if got := m.Duration(); got != want {
			t.Errorf("%d.Duration() = %d, want %d", m, got, want)
		}
	}
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)
	if m := bucket.At(at); !m.Time().Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("At(%v).Time() = %v", at, m.Time())
	}
	if bucket.MaxInstant+2*bucket.MaxSpan >= 1<<53 {
		t.Error("the latest lease is more than a float64 counts")
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "a": true, "größe": true, "a b": true, `"\`: true, "\x00": false, "a\n": false, "\u0085": false, "\x7f": false, "\xc3": false,
		strings.Repeat("x", 256): true, strings.Repeat("x", 257): false, "日本": true, "\ufffd": true, "\u2028": true,
	} {
		if got := bucket.ValidName(name); got != want {
			t.Errorf("ValidName(%q) = %v", name, got)
		}
	}
}

func TestStrings(t *testing.T) {
	if bucket.Acquire.String() != "acquire" || bucket.Rebase.String() != "rebase" || bucket.Kind(0).String() != "invalid" || bucket.Kind(99).String() != "invalid" {
		t.Error("names of operations")
	}
	if bucket.Done.String() != "done" || bucket.Unknown.String() != "unknown" || bucket.Status(0).String() != "none" || bucket.Status(99).String() != "none" {
		t.Error("names of outcomes")
	}
}
