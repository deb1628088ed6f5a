package bucket

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// The short ways must leave the very bits that the long ways leave.
func TestShortWaysEqualTheLongOnes(t *testing.T) {
	const seed = 20260101
	rnd := rand.New(rand.NewPCG(seed, seed))
	limits, err := NewLimits(
		Quota{Resource: "requests", Limit: 7, Per: Second},
		Quota{Resource: "requests", Limit: 1000, Per: Day, Burst: 90},
		Quota{Resource: "tokens", Limit: 1e6 / 3.0, Per: Minute, Burst: 2e5},
	)
	if err != nil {
		t.Fatal(err)
	}
	short := &State{}
	short.align(0, limits)
	now := Micros(1_700_000_000_000_000)
	granted, refused := 0, 0
	for i := range 20_000 {
		long := short.Clone()
		now += Micros(rnd.Int64N(400_000) - 100_000)
		at := max(now, short.At)
		op := &Op{Kind: Acquire, Cost: []float64{float64(rnd.IntN(4)), rnd.Float64() * 3e4}[:rnd.IntN(3)]}
		if rnd.IntN(3) == 0 {
			for j := range op.Cost {
				op.Cost[j] *= rnd.Float64() - 0.5
			}
			short.credit(at, limits, op, 1)
			long.aligned = nil // the way without a short cut
			long.adjust(at, limits, op, 1)
		} else if ok := short.grant(at, limits, op); ok != long.covers(at, limits, op, 0) {
			t.Fatalf("seed %d, step %d: the short way says %v, the long one doesn't", seed, i, ok)
		} else if ok {
			granted++
			long.debit(at, limits, op)
		} else {
			refused++
		}
		for j := range long.Buckets {
			if short.Buckets[j] != long.Buckets[j] || short.At != long.At {
				t.Fatalf("seed %d, step %d: bucket %d is %+v at %d, the long way %+v at %d", seed, i, j, short.Buckets[j], short.At, long.Buckets[j], long.At)
			}
		}
	}
	if granted < 1000 || refused < 1000 {
		t.Fatalf("seed %d: %d granted, %d refused: want a thousand of each at least", seed, granted, refused)
	}
}

// The quick look at names must say what the slow one says, whatever byte is where.
func TestPrintableLooksAtEveryByte(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for b := range 256 {
				name := []byte("aaaaaaaaaaaaaaaaaaaa"[:size])
				name[at] = byte(b)
				if want := b >= ' ' && b <= '~'; printable(string(name)) != want {
					t.Fatalf("printable(%q) is %v", name, !want)
				}
			}
		}
	}
}

// What a timeless request comes to must not depend on when it is applied: at the state's own instant or at any later one,
// looked at from any instant after both.
func TestTimelessRequestsDontNeedTheTime(t *testing.T) {
	const seed = 20260102
	rnd := rand.New(rand.NewPCG(seed, seed))
	limits, err := NewLimits(
		Quota{Resource: "requests", Limit: 600, Per: Minute, Burst: 50},
		Quota{Resource: "tokens", Limit: 1e5, Per: Minute},
	)
	if err != nil {
		t.Fatal(err)
	}
	results := make([]Result, 1)
	full := 0
	for i := range 5000 {
		early := &State{}
		now := Micros(1_700_000_000_000_000)
		debit := &Request{Limits: limits, Ops: []Op{{Kind: Record, Cost: []float64{rnd.Float64() * 80, rnd.Float64() * 1.5e5}}}}
		early.Apply(now, debit, results)
		late := early.Clone()
		credit := &Request{Limits: limits, Ops: []Op{{Kind: Adjust, Cost: []float64{rnd.Float64() * 80, rnd.Float64() * 1.5e5}}}}
		if !early.Timeless(limits, &credit.Ops[0]) {
			t.Fatalf("seed %d, step %d: a credit while nobody waits is not timeless", seed, i)
		}
		early.Apply(early.At, credit, results)
		then := now + Micros(rnd.Int64N(int64(Minute)))
		late.Apply(then, credit, results)
		look := then + Micros(rnd.Int64N(int64(Minute)))
		for j := range early.Buckets {
			a, b := early.Buckets[j].levelAfter(look-early.At), late.Buckets[j].levelAfter(look-late.At)
			if diff := a - b; diff > 1e-6 || diff < -1e-6 {
				t.Fatalf("seed %d, step %d: bucket %d holds %v if credited at once, %v if later", seed, i, j, a, b)
			}
			if a == early.Buckets[j].Cap() {
				full++
			}
		}
	}
	if full == 0 {
		t.Fatal("no bucket ever reached its burst")
	}
	taking := &Op{Kind: Adjust, Cost: []float64{-1}}
	s := &State{}
	s.Apply(1, &Request{Limits: limits, Ops: []Op{{Kind: Record, Cost: []float64{1}}}}, results)
	if s.Timeless(limits, taking) {
		t.Error("an adjustment that takes is called timeless")
	}
}

// Do must be Apply of a request with one operation, whatever the state and the operation.
func TestDoIsApplyOfOneOperation(t *testing.T) {
	const seed = 20260103
	rnd := rand.New(rand.NewPCG(seed, seed))
	limits, err := NewLimits(Quota{Resource: "requests", Limit: 600, Per: Minute}, Quota{Resource: "tokens", Limit: 1e5, Per: Minute})
	if err != nil {
		t.Fatal(err)
	}
	now := Micros(1_700_000_000_000_000)
	one, many := &State{}, &State{}
	seen := map[Status]int{}
	for i := range 20_000 {
		now += Micros(rnd.Int64N(int64(Second)) - int64(Second)/10)
		o := Op{
			Kind: Kind(rnd.IntN(int(kinds))), Cost: []float64{float64(rnd.IntN(700)), rnd.Float64() * 5e4},
			Flow: []string{"", "a", "b"}[rnd.IntN(3)], Place: []string{"", "p", "q"}[rnd.IntN(3)],
			After: rnd.IntN(10) == 0, Limit: 1000, Level: 5, Span: 1000, Grace: Second,
		}
		l := limits
		if rnd.IntN(20) == 0 {
			l = nil
		}
		got, want := Result{Quota: 9, Place: 9}, []Result{{Quota: 9, Place: 9}}
		one.Do(now, l, &o, &got)
		many.Apply(now, &Request{Limits: l, Ops: []Op{o}}, want)
		seen[got.Status]++
		if !reflect.DeepEqual(got, want[0]) || !reflect.DeepEqual(one, many) {
			t.Fatalf("seed %d, step %d: %v by Do: %+v, state %+v\nby Apply: %+v, state %+v", seed, i, o.Kind, got, one, want[0], many)
		}
	}
	for _, status := range []Status{Done, Granted, Refused, TooLarge, Invalid, Skipped} {
		if seen[status] < 20 {
			t.Errorf("seed %d: %v came %d times, want some twenty", seed, status, seen[status])
		}
	}
}

// Each reason why an operation is not timeless, by itself.
func TestWhatIsNotTimeless(t *testing.T) {
	limits, err := NewLimits(Quota{Resource: "requests", Limit: 600, Per: Minute})
	if err != nil {
		t.Fatal(err)
	}
	same, err := NewLimits(Quota{Resource: "requests", Limit: 600, Per: Minute})
	if err != nil {
		t.Fatal(err)
	}
	debited := func() *State {
		s := &State{}
		s.Apply(1, &Request{Limits: limits, Ops: []Op{{Kind: Record, Cost: []float64{600}}}}, make([]Result, 1))
		return s
	}
	waited := debited()
	waited.Apply(1, &Request{Limits: limits, Ops: []Op{{Kind: Acquire, Cost: []float64{1}, Place: "p", Grace: Minute}}}, make([]Result, 1))
	credit := Op{Kind: Adjust, Cost: []float64{1}}
	for _, c := range []struct {
		name   string
		state  *State
		limits *Limits
		op     Op
		want   bool
	}{
		{"a credit", debited(), limits, credit, true},
		{"a credit of nothing", debited(), limits, Op{Kind: Adjust}, true},
		{"a credit of 0, as of a resource that was used as reserved", debited(), limits, Op{Kind: Adjust, Cost: []float64{0}}, true},
		{"another kind", debited(), limits, Op{Kind: Record, Cost: []float64{1}}, false},
		{"somebody waits", waited, limits, credit, false},
		{"other limits", debited(), same, credit, false},
		{"no limits", &State{}, nil, credit, false},
		{"a part that takes", debited(), limits, Op{Kind: Adjust, Cost: []float64{-1e-9}}, false},
		{"not a number", debited(), limits, Op{Kind: Adjust, Cost: []float64{math.NaN()}}, false},
	} {
		if got := c.state.Timeless(c.limits, &c.op); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
