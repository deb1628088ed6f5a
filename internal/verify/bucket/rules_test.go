package bucket_test

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/tokenthrottle/throttle/bucket"
)

// The rules of the design, one test each, over numbers of any kind: here float64 rounds.

const epoch bucket.Micros = 1_700_000_000_000_000

func anyLimits(t *rapid.T) *bucket.Limits {
	var quotas []bucket.Quota
	for i := range rapid.IntRange(1, 4).Draw(t, "quotas") {
		q := bucket.Quota{
			Resource: []string{"requests", "tokens", "dollars"}[i%3],
			Limit:    rapid.OneOf(rapid.Float64Range(0.01, 1e4), rapid.Float64Range(1, 1e9), rapid.Just(7.0)).Draw(t, "limit"),
			Per:      []bucket.Micros{bucket.Second, bucket.Minute, bucket.Day, 3, 1_000_003}[rapid.IntRange(0, 4).Draw(t, "period")] + bucket.Micros(i/3*5),
		}
		if rapid.Bool().Draw(t, "burst") {
			q.Burst = q.Limit * rapid.Float64Range(0.01, 3).Draw(t, "ratio")
		}
		quotas = append(quotas, q)
	}
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// parts draws a cost, each a part of what the smallest bucket of its resource holds.
func parts(t *rapid.T, l *bucket.Limits, least, most float64) []float64 {
	cost := make([]float64, len(l.Resources()))
	for r := range cost {
		burst := math.Inf(1)
		for i := range l.Len() {
			if l.ResourceOf(i) == r {
				burst = min(burst, l.Quota(i).Burst)
			}
		}
		cost[r] = burst * rapid.OneOf(rapid.Float64Range(least, most), rapid.Float64Range(0, 0.1), rapid.Just(0.0)).Draw(t, "part")
	}
	return cost
}

func anyOp(t *rapid.T, l *bucket.Limits, kinds ...bucket.Kind) bucket.Op {
	o := bucket.Op{
		Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Flow: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "flow"),
		Weight: rapid.SampledFrom([]float64{0, 0.3, 1, 7}).Draw(t, "weight"), Priority: int32(rapid.IntRange(0, 5).Draw(t, "priority") / 5),
		Poll: bucket.Micros(rapid.IntRange(0, 5_000_000).Draw(t, "poll")), Grace: bucket.Micros(rapid.IntRange(0, 5_000_000).Draw(t, "grace")),
		Quota: rapid.IntRange(0, l.Len()-1).Draw(t, "quota"), Span: bucket.Micros(rapid.IntRange(-1, 3_000_000).Draw(t, "span")),
	}
	o.Place = rapid.SampledFrom([]string{"", "p", "q", "r", "s", "u", "v"}).Draw(t, "place")
	if o.Kind == bucket.Leave && o.Place == "" {
		o.Place = "p"
	}
	switch o.Kind {
	case bucket.Adjust:
		o.Cost = parts(t, l, -0.5, 1)
	case bucket.Acquire, bucket.Record:
		o.Cost = parts(t, l, 0, 1.05)
	}
	q := l.Quota(o.Quota)
	o.Limit, o.Level = q.Limit*rapid.Float64Range(0.1, 3).Draw(t, "limit"), q.Burst*rapid.Float64Range(-0.1, 1).Draw(t, "level")
	return o
}

var allKinds = []bucket.Kind{
	bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Adjust, bucket.Record, bucket.Leave, bucket.Peek, bucket.SetLimit,
	bucket.ClearLimit, bucket.Block, bucket.Observe,
}

func anyWait(t *rapid.T, l *bucket.Limits) bucket.Micros {
	q := l.Quota(rapid.IntRange(0, l.Len()-1).Draw(t, "whose"))
	span := min(bucket.Day, bucket.Micros(float64(q.Per)*q.Burst/q.Limit)+1)
	return bucket.Micros(float64(span) * rapid.OneOf(rapid.Float64Range(0, 0.2), rapid.Just(0.0), rapid.Float64Range(0, 2)).Draw(t, "wait"))
}

func apply(s *bucket.State, now bucket.Micros, l *bucket.Limits, ops ...bucket.Op) []bucket.Result {
	results := make([]bucket.Result, len(ops))
	s.Apply(now, &bucket.Request{Limits: l, Ops: ops}, results)
	return results
}

func peek(s *bucket.State, now bucket.Micros, l *bucket.Limits) *bucket.State {
	return apply(s.Clone(), now, l, bucket.Op{Kind: bucket.Peek})[0].State
}

// anyState is a state after some history, and the instant of the last request.
func anyState(t *rapid.T, l *bucket.Limits, kinds ...bucket.Kind) (*bucket.State, bucket.Micros) {
	s, now := new(bucket.State), epoch
	for range rapid.IntRange(0, 20).Draw(t, "history") {
		now += anyWait(t, l)
		apply(s, now, l, anyOp(t, l, kinds...))
	}
	return s, now
}

// Over any interval no more than burst + rate·Δt + credits is admitted, whatever the order of nows.
func TestBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		var s bucket.State
		now := epoch
		var at []bucket.Micros // of each request, as it counts: a stale now counts as the state's instant
		var moved [][]*big.Rat // of each request and quota: what was admitted less what was credited
		n := rapid.IntRange(1, 50).Draw(t, "requests")
		for range n {
			now += anyWait(t, l)
			said := now
			if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
				said -= anyWait(t, l)
			}
			at = append(at, max(said, s.At))
			o := anyOp(t, l, bucket.Acquire, bucket.Acquire, bucket.Acquire, bucket.Adjust, bucket.Leave, bucket.Block, bucket.Peek)
			r := apply(&s, said, l, o)[0]
			units := make([]*big.Rat, l.Len())
			for i := range units {
				units[i] = new(big.Rat)
				if o.Cost == nil {
					continue
				}
				switch c := o.Cost[l.ResourceOf(i)]; {
				case r.Status == bucket.Granted:
					units[i] = rat(c)
				case r.Status == bucket.Done && c > 0:
					units[i] = rat(-c)
				}
			}
			moved = append(moved, units)
		}
		for i := range l.Len() {
			q := l.Quota(i)
			rate := div(rat(q.Limit), ratOf(q.Per))
			most := add(rat(q.Burst), rat(float64(n)*q.Burst*0x1p-51)) // the rest is for rounding
			for from := range moved {
				first, last, sum := at[from], at[from], new(big.Rat)
				for k := from; k < n; k++ {
					first, last, sum = min(first, at[k]), max(last, at[k]), add(sum, moved[k][i])
					if bound := add(most, mul(rate, ratOf(last-first))); sum.Cmp(bound) > 0 {
						t.Fatalf("quota %+v: requests %d to %d took %s units within %d µs: want at most %s", q, from, k, sum.FloatString(9), last-first, bound.FloatString(9))
					}
				}
			}
		}
	})
}

// An acquire debits every bucket that it names or none; a refused one changes no level.
func TestAllOrNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		s, now := anyState(t, l, allKinds...)
		now += anyWait(t, l)
		o := anyOp(t, l, bucket.Acquire)
		before := peek(s, now, l)
		r := apply(s, now, l, o)[0]
		after := peek(s, now, l)
		for i := range before.Buckets {
			want := before.Buckets[i].Level
			if r.Status == bucket.Granted {
				want -= o.Cost[l.ResourceOf(i)]
			}
			if got := after.Buckets[i].Level; got != want {
				t.Fatalf("%v: bucket %d has level %v, want %v", r.Status, i, got, want)
			}
			if r.Status == bucket.Granted && after.Buckets[i].Level < 0 && o.Cost[l.ResourceOf(i)] > 0 {
				t.Fatalf("granted into debt: %v", after.Buckets[i].Level)
			}
		}
	})
}

// A credit never raises a level above the burst; a debt stays until refill or credit pays it.
func TestCreditAndDebt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		s, now := anyState(t, l, allKinds...)
		o := anyOp(t, l, bucket.Adjust, bucket.Record)
		before := peek(s, now, l)
		apply(s, now, l, o)
		idle := anyWait(t, l)
		after := peek(s, now+idle, l)
		for i, b := range before.Buckets {
			c := rat(o.Cost[l.ResourceOf(i)])
			if o.Kind == bucket.Record {
				c.Neg(c)
			}
			burst := rat(b.Cap())
			want := smaller(burst, add(rat(b.Level), c))
			want = smaller(burst, add(want, mul(div(rat(b.Rate()), ratOf(b.Per)), ratOf(idle))))
			got := rat(after.Buckets[i].Level)
			if got.Cmp(burst) > 0 {
				t.Fatalf("level %v above the burst %v", after.Buckets[i].Level, b.Cap())
			}
			slop := rat(math.Abs(b.Level)*0x1p-48 + b.Cap()*0x1p-48)
			if d := new(big.Rat).Abs(sub(got, want)); d.Cmp(slop) > 0 {
				t.Fatalf("bucket %d: level %v, want %s", i, after.Buckets[i].Level, want.FloatString(9))
			}
		}
	})
}

// A cost above the burst is TooLarge, at once; any other is not.
func TestTooLarge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		s, now := anyState(t, l, allKinds...)
		r := rapid.IntRange(0, len(l.Resources())-1).Draw(t, "resource")
		o := bucket.Op{Kind: bucket.Acquire, Cost: make([]float64, len(l.Resources()))}
		least := math.Inf(1)
		apply(s, now, l)
		for i := range l.Len() {
			if l.ResourceOf(i) == r {
				least = min(least, s.Buckets[i].Cap())
			}
		}
		if least == 0 {
			return // an override with a burst of 0
		}
		o.Cost[r] = least
		if res := apply(s.Clone(), now, l, o)[0]; res.Status == bucket.TooLarge {
			t.Fatalf("a burst itself: %+v", res)
		}
		o.Cost[r] = math.Nextafter(least, math.Inf(1))
		if res := apply(s, now, l, o)[0]; res.Status != bucket.TooLarge || res.RetryAfter != 0 || s.Buckets[res.Quota].Cap() != least {
			t.Fatalf("a hair above the burst %v: %+v", least, res)
		}
	})
}

// A refusal's retry hint is exact: at that instant, nothing else happening, the acquire succeeds; just before, it fails.
func TestHintIsExact(t *testing.T) {
	exact := 0
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		s, now := anyState(t, l, allKinds...)
		stale := now - anyWait(t, l)
		now += anyWait(t, l)
		if rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
			now = stale
		}
		o := anyOp(t, l, bucket.Acquire)
		r := apply(s, now, l, o)[0]
		if r.Status != bucket.Refused {
			return
		}
		if r.RetryAfter <= 0 {
			t.Fatalf("hint %d", r.RetryAfter)
		}
		if r.RetryAfter == bucket.MaxSpan {
			return
		}
		for i := range s.Line { // those ahead live on
			s.Line[i].Lease = max(s.Line[i].Lease, now+r.RetryAfter)
		}
		for i := range s.Buckets {
			need := o.Cost[l.ResourceOf(i)]
			ahead := s.Line[:r.Place-1]
			if o.Place == "" {
				ahead = s.Line // by then it may stand behind any of them
			}
			for _, p := range ahead {
				need += p.Cost[i]
			}
			if need > s.Buckets[i].Cap() {
				return // more than it ever holds: the hint is a guess
			}
		}
		exact++
		if early := apply(s.Clone(), now+r.RetryAfter-1, l, o)[0]; early.Status != bucket.Refused || early.RetryAfter != 1 {
			t.Fatalf("a microsecond before the hint of %d: %v, another hint of %d; place %d, now %d\n%s", r.RetryAfter, early.Status, early.RetryAfter, r.Place, now, s.Encode(nil))
		}
		if late := apply(s, now+r.RetryAfter, l, o)[0]; late.Status != bucket.Granted {
			t.Fatalf("at the hint of %d: %v, another hint of %d", r.RetryAfter, late.Status, late.RetryAfter)
		}
	})
	if exact == 0 && !testing.Short() { // of a hundred draws a sixth or so are exact, but it may be far fewer
		t.Error("no hint was put to the test")
	}
}

// Whoever stands at the front is served at its hint, whatever those behind it and those who don't wait do meanwhile.
func TestNobodyAheadIsDelayed(t *testing.T) {
	tried := 0
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		s, now := new(bucket.State), epoch
		apply(s, now, l, bucket.Op{Kind: bucket.Record, Cost: parts(t, l, 1, 1.5)})
		front := bucket.Op{Kind: bucket.Acquire, Place: "front", Flow: "front", Cost: parts(t, l, 0, 1), Grace: bucket.Day}
		r := apply(s, now, l, front)[0]
		if r.Status != bucket.Refused || r.RetryAfter == bucket.MaxSpan {
			return // needn't wait, or for ever
		}
		tried++
		due := now + r.RetryAfter
		for range rapid.IntRange(0, 20).Draw(t, "others") {
			now = min(due, now+anyWait(t, l))
			o := anyOp(t, l, bucket.Acquire, bucket.Acquire, bucket.Leave, bucket.Peek)
			o.Priority = 0
			apply(s, now, l, o)
		}
		if r := apply(s, due, l, front)[0]; r.Status != bucket.Granted && r.RetryAfter > 1 { // a microsecond for rounding
			t.Fatalf("it was promised %d: %v, another hint of %d", due, r.Status, r.RetryAfter)
		}
	})
	if tried < 10 && !testing.Short() {
		t.Errorf("only %d had to wait", tried)
	}
}

// A key that AbsentAt says is absent equals an absent one: no request can tell whether it was dropped.
func TestAbsentEquivalence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, others := anyLimits(t), anyLimits(t)
		kept, now := anyState(t, l, bucket.Acquire, bucket.Acquire, bucket.Adjust, bucket.Record, bucket.Leave, bucket.Peek, bucket.Block, bucket.Observe)
		if rapid.Bool().Draw(t, "named") {
			kept.Apply(now, &bucket.Request{Limits: l, Batch: "old/1", Ops: []bucket.Op{{Kind: bucket.Peek}}}, make([]bucket.Result, 1))
		}
		if kept.AbsentAt() == bucket.Forever {
			kept.Apply(now, &bucket.Request{Limits: l, Ops: []bucket.Op{{Kind: bucket.ClearLimit}}}, make([]bucket.Result, 1))
		}
		at := kept.AbsentAt()
		if at == bucket.Forever {
			return // an override
		}
		if kept.Absent(at-1) || !kept.Absent(at) {
			t.Fatalf("AbsentAt says %d; absent then: %v, before: %v", at, kept.Absent(at), kept.Absent(at-1))
		}
		dropped, now := new(bucket.State), at
		for range rapid.IntRange(1, 10).Draw(t, "requests") {
			now += anyWait(t, l)
			limits := l
			if rapid.IntRange(0, 3).Draw(t, "others' limits") == 0 {
				limits = others
			}
			r := bucket.Request{Limits: limits, Ops: []bucket.Op{anyOp(t, limits, allKinds...), {Kind: bucket.Peek}}}
			if rapid.IntRange(0, 3).Draw(t, "retry") == 0 {
				r.Batch, r.Retry, r.Since = "new/1", true, now-bucket.Micros(rapid.IntRange(0, 120).Draw(t, "since"))*bucket.Second
			}
			a, b := make([]bucket.Result, 2), make([]bucket.Result, 2)
			kept.Apply(now, &r, a)
			dropped.Apply(now, &r, b)
			for i := range a {
				x, y := a[i], b[i]
				for _, s := range []*bucket.State{x.State, y.State} {
					if s != nil { // batches that no retry may rely on any more, and a block that has ended, are there or not
						s.Batches, s.Forgotten = nil, 0
						if s.Blocked <= s.At {
							s.Blocked = 0
						}
					}
				}
				if (x.State == nil) != (y.State == nil) || x.State != nil && string(x.State.Encode(nil)) != string(y.State.Encode(nil)) {
					t.Fatalf("kept    %s\ndropped %s", x.State.Encode(nil), y.State.Encode(nil))
				}
				x.State, y.State = nil, nil
				if x != y {
					t.Fatalf("%+v: kept %+v, dropped %+v", r.Ops[i], x, y)
				}
			}
		}
	})
}

// Removing, adding or resizing a quota keeps the levels of the buckets that survive.
func TestResizingKeepsLevels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, l := anyLimits(t), anyLimits(t)
		s, now := anyState(t, old, allKinds...)
		now += anyWait(t, old)
		if s.Absent(now) {
			return // it starts full
		}
		before := peek(s, now, old)
		after := peek(s, now, l)
		for _, b := range after.Buckets {
			want, found := b.Cap(), false
			for _, was := range before.Buckets {
				if was.Resource == b.Resource && was.Per == b.Per {
					want, found = min(was.Level, b.Cap()), true
				}
			}
			if b.Level != want {
				t.Fatalf("bucket %+v (there before: %v): want level %v", b, found, want)
			}
		}
		for _, was := range before.Buckets {
			if kept := findBucket(after, was); was.Level < was.Cap() && (kept == nil || was.OverLimit > 0 && kept.OverLimit != was.OverLimit) {
				t.Fatalf("bucket %+v, not full, is forgotten", was)
			}
		}
	})
}

func findBucket(s *bucket.State, like bucket.Bucket) *bucket.Bucket {
	for i := range s.Buckets {
		if s.Buckets[i].Resource == like.Resource && s.Buckets[i].Per == like.Per {
			return &s.Buckets[i]
		}
	}
	return nil
}

// A state that was stored and read goes on as one that wasn't.
func TestStoredStatesGoOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		a, now := anyState(t, l, allKinds...)
		for step := range rapid.IntRange(1, 10).Draw(t, "requests") {
			text := a.Encode(nil)
			var b bucket.State
			if err := b.Decode(text); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if again := b.Encode(nil); string(again) != string(text) {
				t.Fatalf("stored %s\nread   %s", text, again)
			}
			now += anyWait(t, l)
			o := anyOp(t, l, allKinds...)
			ra, rb := apply(a, now, l, o)[0], apply(&b, now, l, o)[0]
			ra.State, rb.State = nil, nil
			if ra != rb || string(a.Encode(nil)) != string(b.Encode(nil)) {
				t.Fatalf("step %d: %+v gives %+v and\n%s\nafter storing %+v and\n%s", step, o, ra, a.Encode(nil), rb, b.Encode(nil))
			}
			*a = b
		}
	})
}

// No operation, whatever its fields hold, panics, hangs or leaves a state that can't be stored.
func TestAnything(t *testing.T) {
	wild := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1, -1, 1e15, math.NaN(), math.Inf(1), math.Inf(-1), 5e-324, 1e300}))
	instant := rapid.OneOf(rapid.Int64(), rapid.Int64Range(int64(epoch), int64(epoch+bucket.Hour)), rapid.SampledFrom([]int64{0, math.MinInt64, math.MaxInt64, int64(bucket.MaxInstant)}))
	name := rapid.OneOf(rapid.SampledFrom([]string{"", "p", "q"}), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimits(t)
		var s bucket.State
		for range rapid.IntRange(1, 20).Draw(t, "requests") {
			o := bucket.Op{
				Kind: bucket.Kind(rapid.IntRange(0, 11).Draw(t, "kind")), Cost: rapid.SliceOfN(wild, 0, 4).Draw(t, "cost"), Place: name.Draw(t, "place"), Flow: name.Draw(t, "flow"),
				Priority: rapid.Int32().Draw(t, "priority"), Weight: wild.Draw(t, "weight"), Poll: bucket.Micros(instant.Draw(t, "poll")), Grace: bucket.Micros(instant.Draw(t, "grace")),
				Quota: rapid.IntRange(-1, 5).Draw(t, "quota"), Limit: wild.Draw(t, "limit"), Burst: wild.Draw(t, "burst"), Level: wild.Draw(t, "level"), Span: bucket.Micros(instant.Draw(t, "span")),
			}
			r := bucket.Request{Limits: l, Ops: []bucket.Op{o}, Batch: name.Draw(t, "batch"), Retry: rapid.Bool().Draw(t, "retry"), Since: bucket.Micros(instant.Draw(t, "since"))}
			results := make([]bucket.Result, 1)
			s.Apply(bucket.Micros(instant.Draw(t, "now")), &r, results)
			if results[0].Status == 0 {
				t.Fatalf("%+v: no outcome", o)
			}
			var stored bucket.State
			if err := stored.Decode(s.Encode(nil)); err != nil {
				t.Fatalf("after %+v: %v", o, err)
			}
		}
	})
}
