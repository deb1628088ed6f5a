package bucket

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Micros is a whole number of microseconds: an instant (since the Unix epoch) or a span, as the name of the field says.
type Micros int64

// Spans that quotas are usually given in.
const (
	Second Micros = 1_000_000
	Minute        = 60 * Second
	Hour          = 60 * Minute
	Day           = 24 * Hour

	// Forever is later than every instant: the [State.AbsentAt] of a key that never equals an absent one.
	Forever Micros = math.MaxInt64
)

// MaxUnits is the largest limit, burst or cost, in units: up to there float64 counts whole units exactly.
const MaxUnits = 1e15

// MaxSpan is the longest period, in microseconds, that a quota may have, and the longest hint that is computed exactly
// (ten years).
const MaxSpan = 3653 * Day

// MaxInstant is the latest instant that Apply counts with, in the year 2223: a later now counts as MaxInstant, one below
// 0 as 0. So no sum of an instant and spans overflows, and a float64 holds every one exactly.
const MaxInstant Micros = 8_000_000_000_000_000

// MaxQuotas is the largest number of quotas a [Limits] holds.
const MaxQuotas = 64

// MaxName is the longest resource, flow or place name, in bytes.
const MaxName = 256

// MicrosOf converts a duration, rounding up to a whole microsecond so that no wait ends early.
func MicrosOf(d time.Duration) Micros {
	us := Micros(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// At converts an instant, dropping what is below a microsecond.
func At(t time.Time) Micros { return Micros(t.UnixMicro()) }

// Duration converts a span; spans beyond about 292 years, either way, give the longest duration.
func (m Micros) Duration() time.Duration {
	switch {
	case m > math.MaxInt64/1000:
		return math.MaxInt64
	case m < math.MinInt64/1000:
		return math.MinInt64
	}
	return time.Duration(m) * time.Microsecond
}

// Time converts an instant.
func (m Micros) Time() time.Time { return time.UnixMicro(int64(m)) }

// Quota is one limit: so many units of a resource over a period. It is kept as that pair, never as a pre-divided
// interval, so that 7 a second stays 7 a second.
type Quota struct {
	// Resource names what is counted ("requests", "tokens"): 1 to [MaxName] bytes of UTF-8 without control characters.
	Resource string
	// Limit is how many units the bucket gains over Per; greater than 0 and at most [MaxUnits].
	Limit float64
	// Per is the period; greater than 0 and at most [MaxSpan].
	Per Micros
	// Burst is the level, in units, that the bucket refills to; at most [MaxUnits]. 0 means Limit.
	Burst float64
}

// Validate returns an error that names what is wrong and what is allowed, or nil.
func (q Quota) Validate() error {
	switch {
	case !ValidName(q.Resource):
		return fmt.Errorf("bucket: resource %.40q: want 1 to %d bytes of UTF-8 without control characters", q.Resource, MaxName)
	case !(q.Limit > 0 && q.Limit <= MaxUnits):
		return fmt.Errorf("bucket: quota of %q: limit %v: want more than 0 and at most %g units", q.Resource, q.Limit, float64(MaxUnits))
	case q.Per <= 0 || q.Per > MaxSpan:
		return fmt.Errorf("bucket: quota of %q: period %d µs: want more than 0 and at most %d µs", q.Resource, int64(q.Per), int64(MaxSpan))
	case !(q.Burst >= 0 && q.Burst <= MaxUnits):
		return fmt.Errorf("bucket: quota of %q: burst %v: want 0 (the limit) or up to %g units", q.Resource, q.Burst, float64(MaxUnits))
	}
	return nil
}

// ValidName says whether a resource, flow or place name may be used: 1 to [MaxName] bytes of UTF-8 without control
// characters. What a state is encoded with, and what a person reads it with, then carries it unchanged.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxName {
		return false
	}
	if printable(s) {
		return true
	}
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// printable says whether s is all printable ASCII, eight bytes at a time, because every acquire comes by.
func printable(s string) bool {
	const each, top = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		below, above := (w-' '*each)&^w&top, (w+each|w)&top // 0x7f and beyond have their top bit set, with 1 added or without
		if below|above != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// compare orders quotas by resource, then by period: the order of buckets everywhere.
func (q Quota) compare(o Quota) int {
	if c := strings.Compare(q.Resource, o.Resource); c != 0 {
		return c
	}
	return int(min(1, max(-1, q.Per-o.Per)))
}

// Limits is a validated set of quotas in canonical order (by resource, then by period). It is immutable and safe for
// concurrent use. A cost is a vector over its [Limits.Resources].
type Limits struct {
	quotas     []Quota
	resources  []string
	resourceOf []int // of each quota, its index in resources
}

// NewLimits validates quotas and sorts them. It refuses two quotas with the same resource and period, and more than
// [MaxQuotas]. No quotas at all is allowed: such a key grants everything that is not blocked.
func NewLimits(quotas ...Quota) (*Limits, error) {
	if len(quotas) > MaxQuotas {
		return nil, fmt.Errorf("bucket: %d quotas for one key: at most %d are allowed", len(quotas), MaxQuotas)
	}
	l := &Limits{quotas: slices.Clone(quotas)}
	var errs []error
	for i := range l.quotas {
		errs = append(errs, l.quotas[i].Validate())
		if l.quotas[i].Burst == 0 {
			l.quotas[i].Burst = l.quotas[i].Limit
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortFunc(l.quotas, Quota.compare)
	for i, q := range l.quotas {
		if i > 0 && l.quotas[i-1].compare(q) == 0 {
			return nil, fmt.Errorf("bucket: two quotas of %q over %v: one a resource and period", q.Resource, q.Per.Duration())
		}
		if i == 0 || l.quotas[i-1].Resource != q.Resource {
			l.resources = append(l.resources, q.Resource)
		}
		l.resourceOf = append(l.resourceOf, len(l.resources)-1)
	}
	return l, nil
}

// Len is the number of quotas.
func (l *Limits) Len() int { return len(l.quotas) }

// Quota returns quota i in canonical order, its Burst filled in.
func (l *Limits) Quota(i int) Quota { return l.quotas[i] }

// Resources are the names that costs are given over, in order. The caller must not change the slice.
func (l *Limits) Resources() []string { return l.resources }

// ResourceOf is the index, in [Limits.Resources], of the resource that quota i limits.
func (l *Limits) ResourceOf(i int) int { return l.resourceOf[i] }

// Resource returns the index of a resource in [Limits.Resources], or -1.
func (l *Limits) Resource(name string) int {
	for i, r := range l.resources { // a handful: a scan beats a map
		if r == name {
			return i
		}
	}
	return -1
}

// Find returns the index of the quota of a resource over a period, or -1.
func (l *Limits) Find(resource string, per Micros) int {
	for i, q := range l.quotas {
		if q.Resource == resource && q.Per == per {
			return i
		}
	}
	return -1
}
