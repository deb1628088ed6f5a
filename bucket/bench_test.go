package bucket_test

import (
	"fmt"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// wide is a key with n buckets, of as many resources.
func wide(t testing.TB, n int) (*bucket.Limits, []float64) {
	t.Helper()
	quotas, cost := make([]bucket.Quota, n), make([]float64, n)
	for i := range quotas {
		quotas[i] = bucket.Quota{Resource: fmt.Sprintf("resource%02d", i), Limit: 1e6 + float64(i), Per: minute}
		cost[i] = float64(i%7 + 1)
	}
	return mustLimits(t, quotas...), cost
}

// crowd is a key for whose buckets n places wait, each a flow of its own.
func crowd(t testing.TB, limits *bucket.Limits, n int) *bucket.State {
	t.Helper()
	s := new(bucket.State)
	drain := make([]float64, limits.Len())
	for i := range drain {
		drain[i] = limits.Quota(i).Burst
	}
	apply(s, epoch, limits, bucket.Op{Kind: bucket.Acquire, Cost: drain})
	for i := range n {
		apply(s, epoch, limits, bucket.Op{Kind: bucket.Acquire, Cost: drain[:1], Place: fmt.Sprint("place", i), Flow: fmt.Sprint("flow", i), Grace: bucket.Day})
	}
	if len(s.Line) != n {
		t.Fatalf("%d wait, want %d", len(s.Line), n)
	}
	return s
}

func apply(s *bucket.State, now bucket.Micros, limits *bucket.Limits, ops ...bucket.Op) []bucket.Result {
	results := make([]bucket.Result, len(ops))
	s.Apply(now, &bucket.Request{Limits: limits, Ops: ops}, results)
	return results
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 3, 32} {
		limits, cost := wide(b, n)
		acquire := bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: cost, Flow: "production", Place: "p"}}}
		settle := bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Adjust, Cost: cost, Flow: "production"}}}
		results := make([]bucket.Result, 1)
		b.Run(fmt.Sprintf("acquire-and-settle/buckets=%d", n), func(b *testing.B) {
			var s bucket.State
			now := epoch
			b.ReportAllocs()
			for b.Loop() {
				now++
				s.Apply(now, &acquire, results)
				s.Apply(now, &settle, results)
			}
			if results[0].Status != bucket.Done {
				b.Fatal(results[0])
			}
		})
		b.Run(fmt.Sprintf("acquire/buckets=%d", n), func(b *testing.B) {
			var s bucket.State
			now := epoch
			b.ReportAllocs()
			for b.Loop() {
				now += second
				s.Apply(now, &acquire, results)
			}
			if results[0].Status != bucket.Granted {
				b.Fatal(results[0])
			}
		})
		b.Run(fmt.Sprintf("refused/buckets=%d", n), func(b *testing.B) {
			s := crowd(b, limits, 0)
			refused := bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: cost}}}
			b.ReportAllocs()
			for b.Loop() {
				s.Apply(epoch, &refused, results)
			}
			if results[0].Status != bucket.Refused {
				b.Fatal(results[0])
			}
		})
	}
}

func BenchmarkLine(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		limits, _ := wide(b, 3)
		results := make([]bucket.Result, 1)
		b.Run(fmt.Sprintf("poll-last/places=%d", n), func(b *testing.B) {
			s := crowd(b, limits, n)
			last := s.Line[n-1]
			r := bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: last.Cost, Place: last.ID, Flow: last.Flow, Grace: bucket.Day}}}
			b.ReportAllocs()
			for b.Loop() {
				s.Apply(epoch, &r, results)
			}
			if results[0].Status != bucket.Refused || results[0].Place != n {
				b.Fatal(results[0])
			}
		})
		b.Run(fmt.Sprintf("settle/places=%d", n), func(b *testing.B) {
			s := crowd(b, limits, n)
			r := bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Adjust, Cost: []float64{1}, Flow: "flow0"}}}
			b.ReportAllocs()
			for b.Loop() {
				r.Ops[0].Cost[0] = -r.Ops[0].Cost[0]
				s.Apply(epoch, &r, results)
			}
		})
	}
	for _, alive := range []int{0, 500} {
		b.Run(fmt.Sprintf("leases-run-out/places=1000/alive=%d", alive), func(b *testing.B) {
			limits, _ := wide(b, 3)
			s := crowd(b, limits, 1000)
			for i := range alive {
				s.Line[2*i].Lease += bucket.Day
			}
			for b.Loop() {
				c := s.Clone()
				apply(c, epoch+bucket.Day+minute+second, limits)
				if len(c.Line) != alive {
					b.Fatal(len(c.Line))
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for name, s := range encoded(b) {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = s.Encode(buf[:0])
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, s := range encoded(b) {
		text := s.Encode(nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var s bucket.State
				if err := s.Decode(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func encoded(b *testing.B) map[string]*bucket.State {
	limits, cost := wide(b, 3)
	used := new(bucket.State)
	apply(used, epoch, limits, bucket.Op{Kind: bucket.Acquire, Cost: cost})
	apply(used, epoch+12345, limits, bucket.Op{Kind: bucket.Acquire, Cost: cost})
	return map[string]*bucket.State{"buckets=3": used, "places=100": crowd(b, limits, 100)}
}

// The granted path allocates nothing: it is what a program pays before every call.
func TestAllocations(t *testing.T) {
	limits, cost := wide(t, 3)
	results := make([]bucket.Result, 4)
	var s bucket.State
	now := epoch
	r := bucket.Request{Limits: limits, Ops: []bucket.Op{
		{Kind: bucket.Acquire, Cost: cost, Flow: "f", Place: "p"}, {Kind: bucket.Adjust, Cost: cost, Flow: "f"}, {Kind: bucket.Record, Cost: cost}, {Kind: bucket.Leave, Place: "p"},
	}}
	s.Apply(now, &r, results)
	if n := testing.AllocsPerRun(100, func() { now += second; s.Apply(now, &r, results) }); n != 0 {
		t.Errorf("granted and settled: %v allocations", n)
	}
	full := crowd(t, limits, 10)
	poll := full.Line[9]
	r = bucket.Request{Limits: limits, Ops: []bucket.Op{
		{Kind: bucket.Acquire, Cost: cost}, {Kind: bucket.Acquire, Cost: poll.Cost, Place: poll.ID, Flow: poll.Flow, Grace: bucket.Day}, {Kind: bucket.Adjust, Cost: []float64{1}, Flow: poll.Flow},
	}}
	if n := testing.AllocsPerRun(100, func() { full.Apply(epoch, &r, results[:3]) }); n != 0 {
		t.Errorf("refused, polled and settled while others wait: %v allocations", n)
	}
	buf := s.Encode(nil)
	if n := testing.AllocsPerRun(100, func() { buf = s.Encode(buf[:0]) }); n != 0 {
		t.Errorf("encoded into a buffer: %v allocations", n)
	}
}
