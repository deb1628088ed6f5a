package bucket_test

import (
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

func TestHintIsExact(t *testing.T) {
	for _, q := range []bucket.Quota{
		tokens(),
		{Resource: "x", Limit: 7, Per: second, Burst: 2},
		{Resource: "x", Limit: 1, Per: 3, Burst: 1e6},
		{Resource: "x", Limit: 1e15, Per: 7, Burst: 1e15},
		{Resource: "x", Limit: 1.0 / 3, Per: bucket.Day, Burst: 1e15},
		{Resource: "x", Limit: 1e9, Per: 1, Burst: 3},
		{Resource: "x", Limit: 0.001, Per: 3600 * second, Burst: 0.002},
	} {
		for _, part := range []float64{1, 0.5, 1e-3, 0.1, 1e-9} {
			k := newKey(t, q)
			burst := k.limits.Quota(0).Burst
			k.want(bucket.Granted, take(burst))
			r := k.want(bucket.Refused, take(burst*part))
			if r.RetryAfter <= 0 {
				t.Fatalf("%+v: hint %d", q, r.RetryAfter)
			}
			if r.RetryAfter == bucket.MaxSpan {
				continue // not exact beyond that
			}
			k.wait(r.RetryAfter - 1)
			if again := k.want(bucket.Refused, take(burst*part)); again.RetryAfter != 1 {
				t.Errorf("%+v: a microsecond before, the hint is %d", q, again.RetryAfter)
			}
			k.wait(1)
			k.want(bucket.Granted, take(burst*part))
		}
	}
}

// A large level holds a small refill only to many microseconds: the hint is exact all the same.
func TestHintIsExactWhereLevelsAreCoarse(t *testing.T) {
	for i := range 200 {
		k := newKey(t, bucket.Quota{Resource: "x", Limit: 1000 + float64(i), Per: bucket.Day, Burst: 1e9 + float64(i)/3})
		burst := k.limits.Quota(0).Burst
		k.want(bucket.Granted, take(1+float64(i)/7))
		r := k.want(bucket.Refused, take(burst))
		k.wait(r.RetryAfter - 1)
		k.want(bucket.Refused, take(burst))
		k.wait(1)
		k.want(bucket.Granted, take(burst))
	}
}

func TestHintFromAStaleNow(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.wait(-10 * second)
	if r := k.want(bucket.Refused, take(1)); r.RetryAfter != 10*second+100*ms {
		t.Errorf("hint %d: want it from the request's own now", r.RetryAfter)
	}
}

func TestHintBeyondMaxSpan(t *testing.T) {
	k := newKey(t, bucket.Quota{Resource: "x", Limit: 1e-12, Per: bucket.MaxSpan, Burst: 10})
	k.want(bucket.Granted, take(10))
	if r := k.want(bucket.Refused, take(1)); r.RetryAfter != bucket.MaxSpan {
		t.Errorf("hint %d, want MaxSpan", r.RetryAfter)
	}
	if k.state.AbsentAt() != bucket.Forever {
		t.Error("it isn't full for longer than can be said")
	}
}
