package badinput

import (
	"math"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// arithmetic are the rows of package bucket, whose errors have no types, but for that of a state of another version: they
// are for programs that use it by itself, and the limiter's own errors wrap them.
func arithmetic() (rows []row) {
	add := func(function, what string, want any, call func(*testing.T) error) {
		rows = append(rows, row{function, what, call, want})
	}
	nan, inf := math.NaN(), math.Inf(1)
	for what, q := range map[string]bucket.Quota{
		"the zero quota": {}, "no resource": {Limit: 1, Per: bucket.Second}, "no limit": {Resource: "r", Per: bucket.Second},
		"a NaN limit": {Resource: "r", Limit: nan, Per: bucket.Second}, "an infinite limit": {Resource: "r", Limit: inf, Per: bucket.Second},
		"a limit below 0": {Resource: "r", Limit: -1, Per: bucket.Second}, "no period": {Resource: "r", Limit: 1},
		"a period below 0": {Resource: "r", Limit: 1, Per: -1}, "a period of a century": {Resource: "r", Limit: 1, Per: bucket.MaxSpan + 1},
		"a NaN burst": {Resource: "r", Limit: 1, Per: bucket.Second, Burst: nan}, "a burst below 0": {Resource: "r", Limit: 1, Per: bucket.Second, Burst: -1},
		"a resource with a control character": {Resource: "a\x00", Limit: 1, Per: bucket.Second},
		"a resource that is no UTF-8":         {Resource: "\xff", Limit: 1, Per: bucket.Second},
		"a resource of 257 bytes":             {Resource: strings.Repeat("r", 257), Limit: 1, Per: bucket.Second},
	} {
		field := "bucket: quota of \"r\": "
		if !bucket.ValidName(q.Resource) {
			field = "bucket: resource "
		}
		add("bucket.Quota.Validate", what, says(field), func(*testing.T) error { return q.Validate() })
		add("bucket.NewLimits", what, says(field), func(t *testing.T) error { return noLimits(t, q) })
	}
	good := bucket.Quota{Resource: "r", Limit: 1, Per: bucket.Second}
	add("bucket.NewLimits", "a quota twice", says("bucket: two quotas of "), func(t *testing.T) error { return noLimits(t, good, good) })
	add("bucket.NewLimits", "65 quotas", says("bucket: 65 quotas "), func(t *testing.T) error {
		var list []bucket.Quota
		for i := range bucket.MaxQuotas + 1 {
			list = append(list, bucket.Quota{Resource: "r", Limit: 1, Per: bucket.Micros(i + 1)})
		}
		return noLimits(t, list...)
	})
	for what, text := range map[string]string{
		"nothing": "", "no JSON": "{", "another thing": `{"a":1}`, "a number": "1", "a state cut off": string(used(good).Encode(nil)[:100]),
		"more than a state": string(used(good).Encode(nil)) + " ", "a state out of range": `{"version":1,"at":-1,"buckets":[]}`,
	} {
		add("bucket.State.Decode", what, says("bucket: state"), func(t *testing.T) error { return decode(t, good, text) })
	}
	add("bucket.State.Decode", "a state of another version", new(*bucket.VersionError), func(t *testing.T) error {
		return decode(t, good, strings.Replace(string(used(good).Encode(nil)), `"version":1`, `"version":2`, 1))
	})
	for what, op := range map[string]bucket.Op{
		"no operation": {}, "an operation that there isn't": {Kind: 99}, "a NaN cost": {Kind: bucket.Acquire, Cost: []float64{nan}},
		"a cost below 0": {Kind: bucket.Acquire, Cost: []float64{-1}}, "more costs than resources": {Kind: bucket.Acquire, Cost: []float64{1, 1}},
		"an infinite credit": {Kind: bucket.Adjust, Cost: []float64{inf}}, "a place with a control character": {Kind: bucket.Acquire, Cost: []float64{1}, Place: "a\x00"},
		"a NaN weight": {Kind: bucket.Acquire, Cost: []float64{1}, Weight: nan, Flow: "f"}, "a limit of no quota": {Kind: bucket.SetLimit, Quota: 1, Limit: 1},
		"a limit below 0": {Kind: bucket.SetLimit, Limit: -1}, "an infinite level": {Kind: bucket.Observe, Level: inf}, "a block of a century": {Kind: bucket.Block, Span: bucket.MaxSpan + 1},
	} {
		add("bucket.State.Apply", what, nil, func(t *testing.T) error { notApplied(t, good, op); return nil })
	}
	add("bucket.ValidName", "names that are none", nil, func(t *testing.T) error {
		for _, name := range []string{"", "a\x00", "\xff", strings.Repeat("n", bucket.MaxName+1), "\u0085"} {
			if bucket.ValidName(name) {
				t.Errorf("%q is valid", name)
			}
		}
		return nil
	})
	return rows
}

// noLimits makes none.
func noLimits(t *testing.T, quotas ...bucket.Quota) error {
	l, err := bucket.NewLimits(quotas...)
	if l != nil {
		t.Error("limits beside the error")
	}
	return err
}

// decode decodes into a state that is in use, which must stay as it is.
func decode(t *testing.T, q bucket.Quota, text string) error {
	s := used(q)
	before := string(s.Encode(nil))
	err := s.Decode([]byte(text))
	if after := string(s.Encode(nil)); after != before {
		t.Errorf("the state changed from %s to %s", before, after)
	}
	return err
}

// used is a state with a level, a place in line and a batch, at the second second.
func used(q bucket.Quota) *bucket.State {
	limits, err := bucket.NewLimits(q)
	if err != nil {
		panic(err)
	}
	s := new(bucket.State)
	results := make([]bucket.Result, 2)
	s.Apply(2*bucket.Second, &bucket.Request{Limits: limits, Batch: "client/1", Ops: []bucket.Op{
		{Kind: bucket.Acquire, Cost: []float64{q.Limit}},
		{Kind: bucket.Acquire, Cost: []float64{q.Limit}, Place: "place", Flow: "f", Weight: 1, Poll: bucket.Second, Grace: bucket.Second},
	}}, results)
	return s
}

// notApplied applies an operation that can't be, to a state in use and to one that has never been: all that it holds, and
// not its levels alone, is then as after no operation at all.
func notApplied(t *testing.T, q bucket.Quota, op bucket.Op) {
	limits, err := bucket.NewLimits(q)
	if err != nil {
		t.Fatal(err)
	}
	if op.Valid(limits) {
		t.Error("it is valid")
	}
	for what, s := range map[string]*bucket.State{"a new state": {}, "a state in use": used(q)} {
		for _, now := range []bucket.Micros{2 * bucket.Second, 2*bucket.Second + bucket.Second/2} {
			untouched := s.Clone()
			untouched.Apply(now, &bucket.Request{Limits: limits}, nil)
			results := make([]bucket.Result, 1)
			s.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{op}}, results)
			if results[0].Status != bucket.Invalid {
				t.Errorf("%s: %v", what, results[0].Status)
			}
			if got, want := string(s.Encode(nil)), string(untouched.Encode(nil)); got != want {
				t.Errorf("%s is %s, want %s", what, got, want)
			}
		}
	}
}
