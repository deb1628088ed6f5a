package bucket

import (
	"fmt"
	"testing"
)

// Processes that give a key quotas of different bursts, by turns: what the smaller one fills is not the larger one's
// burst, whether the key was dropped meanwhile or not.
func TestTwoBurstsByTurnsMintNothing(t *testing.T) {
	large := limitsOf(t, Quota{Resource: "tokens", Limit: 1000, Per: Day})
	for _, c := range []struct {
		name  string
		small Quota
		every Micros
		batch bool
	}{
		{"at once", Quota{Resource: "tokens", Limit: 100, Per: Day}, 0, false},
		{"a minute apart, named", Quota{Resource: "tokens", Limit: 100, Per: Day}, 61 * Second, true},
		{"a smaller burst of the same rate", Quota{Resource: "tokens", Limit: 1000, Per: Day, Burst: 1}, Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			small := limitsOf(t, c.small)
			s, now, granted := &State{}, Micros(1e15), 0.0
			begin := now
			results := make([]Result, 1)
			for i := range 40 {
				now += c.every
				if s.AbsentAt() <= now {
					s = &State{} // as a driver may
				}
				r := &Request{Limits: large, Ops: []Op{{Kind: Acquire, Cost: []float64{900}}}}
				if i%2 == 1 {
					r = &Request{Limits: small, Ops: []Op{{Kind: Acquire, Cost: []float64{0}}}}
				}
				if c.batch {
					r.Batch = fmt.Sprint("client/", i)
				}
				s.Apply(now, r, results)
				if results[0].Status == Granted {
					granted += r.Ops[0].Cost[0]
				}
			}
			if most := 1000 + 1000*float64(now-begin)/float64(Day); granted > most {
				t.Errorf("%v granted, want at most %v", granted, most)
			}
		})
	}
}

// Processes that don't limit the resource at all come in between: they don't remove the bucket.
func TestAThirdOneDropsNoBucket(t *testing.T) {
	s, now, granted, results := &State{}, Micros(1e15), 0.0, make([]Result, 1)
	begin := now
	for range 5 {
		for _, l := range []*Limits{
			limitsOf(t, Quota{Resource: "tokens", Limit: 1000, Per: Day}),
			limitsOf(t, Quota{Resource: "tokens", Limit: 1000, Per: Day, Burst: 1}),
			limitsOf(t, Quota{Resource: "requests", Limit: 10, Per: Minute}),
		} {
			o := Op{Kind: Acquire, Cost: []float64{0}}
			if l.Quota(0).Burst == 1000 {
				o.Cost[0] = 1000
			}
			s.Apply(now, &Request{Limits: l, Ops: []Op{o}}, results)
			if results[0].Status == Granted {
				granted += o.Cost[0]
			}
			now += 90 * Second
		}
	}
	if most := 1000 + 1000*float64(now-begin)/float64(Day); granted > most {
		t.Errorf("%v granted, want at most %v", granted, most)
	}
}

func TestKeptIsGivenUp(t *testing.T) {
	large, small := limitsOf(t, Quota{Resource: "tokens", Limit: 1000, Per: Day}), limitsOf(t, Quota{Resource: "tokens", Limit: 100, Per: Day})
	const start = Micros(1e15)
	s, results := &State{}, make([]Result, 1)
	s.Apply(start, &Request{Limits: large, Ops: []Op{{Kind: Record, Cost: []float64{500}}}}, results)
	s.Apply(start, &Request{Limits: small, Ops: []Op{{Kind: Record, Cost: []float64{0}}}}, results)
	full := start + Day/2
	if s.Kept != full || s.Buckets[0].Level != 100 || s.AbsentAt() != full || s.Absent(full-1) || !s.Absent(full) {
		t.Fatalf("kept until %d, level %v, absent at %d: want %d, 100, %d", s.Kept, s.Buckets[0].Level, s.AbsentAt(), full, full)
	}
	decoded := new(State)
	if err := decoded.Decode(s.Encode(nil)); err != nil || decoded.Kept != full {
		t.Errorf("kept until %d once it was stored (%v), want %d", decoded.Kept, err, full)
	}
	back := s.Clone()
	back.Apply(start-Hour, &Request{Ops: []Op{{Kind: Rebase}}}, results)
	if back.Kept != full-Hour {
		t.Errorf("kept until %d when the clock went back by an hour, want %d", back.Kept, full-Hour)
	}
	s.Apply(full, &Request{Limits: small, Ops: []Op{{Kind: Record, Cost: []float64{1}}}}, results)
	if s.Kept != 0 {
		t.Errorf("still kept until %d at %d", s.Kept, full)
	}
	s.Apply(full, &Request{Limits: large, Ops: []Op{{Kind: Peek}}}, results)
	if got := s.Buckets[0].Level; got != 99 {
		t.Errorf("level %v under the larger quota, want the 99 that the smaller one left", got)
	}
}

func limitsOf(t *testing.T, quotas ...Quota) *Limits {
	t.Helper()
	l, err := NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
