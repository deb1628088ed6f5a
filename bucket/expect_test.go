package bucket_test

import (
	"slices"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// threeWaiting is a drained key of 60 tokens a minute and 600 requests a minute, with three who wait.
func threeWaiting(t *testing.T, l *bucket.Limits) *bucket.State {
	t.Helper()
	s := new(bucket.State)
	ops := []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{0, 60}}}
	for _, p := range []struct {
		id   string
		cost []float64
	}{{"a", []float64{1, 10}}, {"b", []float64{1, 50}}, {"c", []float64{1, 30}}} {
		ops = append(ops, bucket.Op{Kind: bucket.Acquire, Place: p.id, Flow: p.id, Cost: p.cost, Grace: bucket.Hour})
	}
	s.Apply(bucket.Second, &bucket.Request{Limits: l, Ops: ops}, make([]bucket.Result, len(ops)))
	if len(s.Line) != 3 {
		t.Fatalf("line of %d", len(s.Line))
	}
	return s
}

func lineLimits(t *testing.T) *bucket.Limits {
	t.Helper()
	l, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 600, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 60, Per: bucket.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestExpectIsWhenEachPlaceIsGranted(t *testing.T) {
	l := lineLimits(t)
	s := threeWaiting(t, l)
	var costs, want []float64
	sum := 0.0
	for _, p := range s.Line {
		costs = append(costs, p.Cost[1])
		sum += p.Cost[1]
		want = append(want, sum) // a token a second
	}
	got := s.Expect(bucket.Second)
	for i := range want {
		if d := got[i].In - bucket.Micros(want[i])*bucket.Second; d < -1 || d > 1 {
			t.Errorf("places of %v tokens, a token a second: expected %v, want seconds %v", costs, got, want)
		}
		if got[i].Quota != 1 {
			t.Errorf("place %d waits for quota %d, want that of tokens", i, got[i].Quota)
		}
	}

	// And so it comes: each is granted at that instant and not a millisecond sooner, the sum of them above the burst or not.
	for len(s.Line) > 0 {
		head := s.Line[0].ID
		cost := []float64{1, s.Line[0].Cost[1]}
		at := bucket.Second + got[0].In
		ask := func(now bucket.Micros) bucket.Status {
			res := make([]bucket.Result, 1)
			s.Apply(now, &bucket.Request{Limits: l, Ops: []bucket.Op{{Kind: bucket.Acquire, Place: head, Flow: head, Cost: cost, Grace: bucket.Hour}}}, res)
			return res[0].Status
		}
		if st := ask(at - bucket.Second/1000); st != bucket.Refused {
			t.Errorf("%s a millisecond before: %v", head, st)
		}
		if st := ask(at + 2); st != bucket.Granted {
			t.Fatalf("%s at the instant: %v", head, st)
		}
		got = got[1:]
	}
}

func TestExpectAfterABlock(t *testing.T) {
	l := lineLimits(t)
	s := threeWaiting(t, l)
	block := []bucket.Op{{Kind: bucket.Block, Span: 30 * bucket.Second}}
	s.Apply(bucket.Second, &bucket.Request{Limits: l, Ops: block}, make([]bucket.Result, 1))
	before := s.Clone()
	got := s.Expect(bucket.Second)
	if got[0].In != 30*bucket.Second && s.Line[0].Cost[1] <= 30 {
		t.Errorf("the first fits when the block of 30 s ends, expected after %v", got[0].In)
	}
	for i, f := range got {
		if f.In < 30*bucket.Second {
			t.Errorf("place %d expected after %v, within the block", i, f.In)
		}
		// 30 tokens refill during the block: who needs more with those ahead waits for tokens, the others for its end.
		if blocked := f.In == 30*bucket.Second; blocked != (f.Quota < 0) {
			t.Errorf("place %d, expected after %v, waits for quota %d", i, f.In, f.Quota)
		}
	}
	if !slices.EqualFunc(before.Buckets, s.Buckets, func(a, b bucket.Bucket) bool { return a == b }) || before.At != s.At {
		t.Error("Expect changed the state")
	}
	if len(new(bucket.State).Expect(5)) != 0 {
		t.Error("an absent key expects somebody")
	}
}

func TestExpectIsBounded(t *testing.T) {
	l, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 1e-12, Per: bucket.MaxSpan, Burst: 5})
	if err != nil {
		t.Fatal(err)
	}
	s := new(bucket.State)
	ops := []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{5}}, {Kind: bucket.Acquire, Cost: []float64{5}, Place: "a", Grace: bucket.Hour}}
	s.Apply(1, &bucket.Request{Limits: l, Ops: ops}, make([]bucket.Result, 2))
	if got := s.Expect(1); len(got) != 1 || got[0].In != bucket.MaxSpan {
		t.Errorf("a place that refills in an age is expected after %v, want MaxSpan", got)
	}
}
