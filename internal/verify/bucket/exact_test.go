package bucket_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tokenthrottle/throttle/bucket"
)

// The numbers here are whole multiples of powers of two, small enough that float64 holds every intermediate result
// exactly: package bucket and the oracle must then agree on everything, to the last bit and microsecond.

const exactEpoch bucket.Micros = 1 << 30

func powerOfTwo(t *rapid.T, least, most int, what string) float64 {
	f := 1.0
	for k := rapid.IntRange(least, most).Draw(t, what); k != 0; {
		if k > 0 {
			f, k = f*2, k-1
		} else {
			f, k = f/2, k+1
		}
	}
	return f
}

func exactLimits(t *rapid.T) *bucket.Limits {
	resources := []string{"dollars", "requests", "tokens"}
	var quotas []bucket.Quota
	for i := range rapid.IntRange(1, 4).Draw(t, "quotas") {
		quotas = append(quotas, bucket.Quota{
			Resource: resources[i%3],
			Limit:    powerOfTwo(t, 0, 8, "limit"),
			Per:      bucket.Micros(powerOfTwo(t, 8+4*(i/3), 11+4*(i/3), "period")) * 1024,
			Burst:    float64(rapid.IntRange(0, 40).Draw(t, "burst")) * 8,
		})
	}
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func quarters(t *rapid.T, least, most int, what string) float64 {
	return float64(rapid.IntRange(least*4, most*4).Draw(t, what)) / 4
}

var kinds = []bucket.Kind{
	bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Adjust, bucket.Adjust, bucket.Record,
	bucket.Leave, bucket.Peek, bucket.SetLimit, bucket.ClearLimit, bucket.Block, bucket.Observe, bucket.Rebase,
}

func exactOp(t *rapid.T, l *bucket.Limits) bucket.Op {
	o := bucket.Op{
		Kind:     rapid.SampledFrom(kinds).Draw(t, "kind"),
		Flow:     rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "flow"),
		Weight:   rapid.SampledFrom([]float64{0, 0, 0.5, 2, 4}).Draw(t, "weight"),
		Priority: int32(rapid.SampledFrom([]int{0, 0, 0, 1, -1}).Draw(t, "priority")),
		After:    rapid.IntRange(0, 5).Draw(t, "after") == 0,
	}
	least := 0
	if o.Kind == bucket.Adjust {
		least = -50
	}
	for range rapid.IntRange(0, len(l.Resources())).Draw(t, "costs") {
		o.Cost = append(o.Cost, quarters(t, least, 150, "cost"))
	}
	switch o.Kind {
	case bucket.Leave:
		o.Place = rapid.SampledFrom([]string{"p", "q", "r", "s"}).Draw(t, "place")
	case bucket.Acquire:
		o.Place = rapid.SampledFrom([]string{"", "p", "q", "r", "s", "u"}).Draw(t, "place")
		o.Poll = bucket.Micros(rapid.IntRange(-1, 400).Draw(t, "poll")) * 10_000
		o.Grace = bucket.Micros(rapid.IntRange(0, 300).Draw(t, "grace")) * 10_000
	case bucket.SetLimit, bucket.ClearLimit, bucket.Observe:
		o.Quota = rapid.IntRange(0, l.Len()-1).Draw(t, "quota")
		o.Limit = powerOfTwo(t, -1, 9, "override")
		o.Burst = float64(rapid.IntRange(0, 1).Draw(t, "ratio")) * 256
		o.Level = quarters(t, -5, 100, "remaining")
		if o.Kind == bucket.Observe && rapid.Bool().Draw(t, "limit unknown") {
			o.Limit = 0
		}
	case bucket.Block:
		o.Span = bucket.Micros(rapid.IntRange(-1, 1000).Draw(t, "span")) * 1000
	case bucket.Rebase:
		if rapid.IntRange(0, 2).Draw(t, "really") > 0 {
			o.Kind = bucket.Peek
		}
	}
	return o
}

// TestOracle applies the same requests to a State and to the oracle.
func TestOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := []*bucket.Limits{exactLimits(t), exactLimits(t)}
		var state bucket.State
		want := newOracle()
		now, l := exactEpoch, limits[0]
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += bucket.Micros(rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, 2_000_000), rapid.IntRange(-2_000_000, 0), rapid.Just(0), rapid.IntRange(0, 90_000_000)).Draw(t, "wait"))
			if rapid.IntRange(0, 9).Draw(t, "others' limits") == 0 {
				l = limits[rapid.IntRange(0, 1).Draw(t, "which")]
			}
			r := bucket.Request{Limits: l}
			for range rapid.IntRange(1, 4).Draw(t, "operations") {
				r.Ops = append(r.Ops, exactOp(t, l))
			}
			if rapid.IntRange(0, 3).Draw(t, "named") == 0 {
				r.Batch = fmt.Sprintf("c%d/%d", rapid.IntRange(0, 20).Draw(t, "client"), rapid.IntRange(0, 2).Draw(t, "number"))
				r.Retry = rapid.Bool().Draw(t, "retry")
				r.Since = now - bucket.Micros(rapid.IntRange(-1, 70).Draw(t, "since"))*bucket.Second
			}
			got := make([]bucket.Result, len(r.Ops))
			state.Apply(now, &r, got)
			expected := want.request(now, &r)
			for i := range got {
				peeked := got[i].State
				got[i].State = nil
				if got[i] != expected[i] {
					t.Fatalf("step %d, operation %d: %+v\ngives %v %+v\nwant  %v %+v", step, i, r.Ops[i], got[i].Status, got[i], expected[i].Status, expected[i])
				}
				if peeked != nil && i == len(got)-1 {
					for k, b := range want.buckets {
						if level := b.levelAt(want.at, max(now, want.at)); rat(peeked.Buckets[k].Level).Cmp(level) != 0 {
							t.Fatalf("step %d: peek says level %v, want %v", step, peeked.Buckets[k].Level, level.FloatString(9))
						}
					}
				}
			}
			if d := want.differs(&state); d != "" {
				t.Fatalf("step %d, now %d: %s", step, now, d)
			}
			if at := want.absentAt(); state.AbsentAt() != at || at < bucket.Forever && (!state.Absent(at) || state.Absent(at-1)) {
				t.Fatalf("step %d: absent at %d (%v then, %v before), want %d", step, state.AbsentAt(), state.Absent(at), state.Absent(at-1), at)
			}
		}
	})
}
