package bucket_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/vectors"
)

// FuzzDecode: what Decode accepts is encoded to what decodes to the same, and no operation on it panics, hangs, or makes
// of it a state that can't be stored.
func FuzzDecode(f *testing.F) {
	f.Add(crowded(f).Encode(nil))
	f.Add(new(bucket.State).Encode(nil))
	all, err := vectors.Load(vectorsFile)
	if err != nil {
		f.Fatal(err)
	}
	for _, v := range all {
		f.Add([]byte(v.Steps[len(v.Steps)/2].State))
	}
	limits := mustLimits(f, tokens(), requests(), bucket.Quota{Resource: "x", Limit: 2, Per: 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		var s bucket.State
		if err := s.Decode(text); err != nil {
			return
		}
		stored := string(s.Encode(nil))
		checkStored(t, stored)
		now := s.At
		for _, l := range []*bucket.Limits{nil, limits} {
			ops := []bucket.Op{{Kind: bucket.Acquire}, {Kind: bucket.Acquire, Place: "a", Grace: 1}, {Kind: bucket.Peek}, {Kind: bucket.Leave, Place: "b"}, {Kind: bucket.Rebase}}
			if l != nil {
				ops = append(ops, line("a", 1, 2, 1), credit(1, 1, 1), bucket.Op{Kind: bucket.Record, Cost: []float64{1, 1, 1}, Flow: "f"}, bucket.Op{Kind: bucket.SetLimit, Limit: 3}, bucket.Op{Kind: bucket.Observe, Level: 1})
			}
			for _, now := range []bucket.Micros{0, now, now + 1, s.AbsentAt(), math.MaxInt64} {
				s.Apply(now, &bucket.Request{Limits: l, Ops: ops, Batch: "c/1"}, make([]bucket.Result, len(ops)))
				checkStored(t, string(s.Encode(nil)))
				s.Ready(now, func(string) bool { return true })
			}
		}
	})
}

// FuzzApply: no sequence of operations, whatever is in their fields, panics or makes a state that can't be stored.
func FuzzApply(f *testing.F) {
	f.Add([]byte("\x01\x00a\x01\x02b\x03\x04c\x09\x05\x01\x01\x01\x01\x08\x07"))
	f.Add([]byte("\x01\x03\x00\x00\x01\x03\x00\x01\x01\x03\x00\x02\x03\x00\x00\x01\x02\x00\x00\x01\x0a\x00\xff\x01"))
	sets := []*bucket.Limits{
		nil, mustLimits(f, tokens()), mustLimits(f, tokens(), requests()),
		mustLimits(f, bucket.Quota{Resource: "tokens", Limit: 5e-324, Per: bucket.MaxSpan, Burst: 1e15}, bucket.Quota{Resource: "tokens", Limit: 1e15, Per: 1}),
	}
	odd := []float64{0, 1, 0.1, 300, -1, 1e15, -1e15, 5e-324, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64}
	f.Fuzz(func(t *testing.T, program []byte) {
		var s bucket.State
		now := epoch
		for len(program) >= 8 && len(s.Line) < 50 {
			b := program[:8]
			program = program[8:]
			o := bucket.Op{
				Kind: bucket.Kind(b[0] % 12), Place: []string{"", "a", "b", "c"}[b[1]%4], Flow: []string{"", "f", "g", "\x00"}[b[1]/4%4], Priority: int32(int8(b[2])),
				Cost: []float64{odd[int(b[3])%len(odd)], odd[int(b[3])/16%len(odd)]}[:b[4]%3], Weight: odd[int(b[4])/16%len(odd)],
				Limit: odd[int(b[5])%len(odd)], Burst: odd[int(b[5])/16%len(odd)], Level: odd[int(b[6])%len(odd)], Quota: int(b[6])/64 - 1,
				Span: bucket.Micros(binary.BigEndian.Uint64(b)), Poll: bucket.Micros(int8(b[7])) * second, Grace: bucket.Micros(b[7]), After: b[2] == 7,
			}
			switch b[7] % 16 {
			case 0:
				now = o.Span
			case 1:
				now -= second
			default:
				now += bucket.Micros(b[7]) * 10 * ms
			}
			r := bucket.Request{Limits: sets[int(b[4])%len(sets)], Ops: []bucket.Op{o, o}}
			if b[2]%8 == 0 {
				r.Batch, r.Retry, r.Since = string(b[:1])+"/1", b[5]%2 == 0, now-second
			}
			results := make([]bucket.Result, 2)
			s.Apply(now, &r, results)
			for _, res := range results {
				if res.Status == 0 || res.Status == bucket.Refused && (res.RetryAfter <= 0 || res.Place < 1) {
					t.Fatalf("%+v gives %+v", o, res)
				}
			}
			checkStored(t, string(s.Encode(nil)))
			if at := s.AbsentAt(); at < s.At || at != bucket.Forever && !s.Absent(at) {
				t.Fatalf("absent at %d, state %+v", at, s)
			}
		}
	})
}

func checkStored(t *testing.T, stored string) {
	t.Helper()
	var again bucket.State
	if err := again.Decode([]byte(stored)); err != nil {
		t.Fatalf("%v\n%s", err, stored)
	}
	if got := string(again.Encode(nil)); got != stored {
		t.Fatalf("stored  %s\ndecodes to %s", stored, got)
	}
}
