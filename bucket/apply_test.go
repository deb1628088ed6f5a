package bucket_test

import (
	"math"
	"reflect"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

func TestZeroStateIsFull(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.wantLevel(0, 60)
	k.wantLevel(1, 600)
	if !k.state.Absent(k.now) {
		t.Error("a key that was only looked at is not absent")
	}
}

func TestAcquireIsAllOrNothing(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 1))
	before := k.state.Clone()
	r := k.want(bucket.Refused, take(1, 1)) // requests are out, tokens are not
	if r.Quota != 0 || r.RetryAfter != second {
		t.Errorf("got quota %d after %d, want requests after a second", r.Quota, r.RetryAfter)
	}
	if !reflect.DeepEqual(before.Buckets, k.state.Buckets) || len(k.state.Line) > 0 {
		t.Errorf("a refused acquire left a trace: %+v, before %+v", k.state, before)
	}
}

func TestAcquireNamesOnlyWhatItCosts(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60))     // no tokens: the tail is missing
	k.want(bucket.Granted, take(0, 600)) // requests are out, but none is asked for
	k.want(bucket.Granted, take())
	k.want(bucket.Granted, take(0, 0))
	k.want(bucket.Refused, take(0, 1e-9))
}

func TestOneResourceOverTwoPeriods(t *testing.T) {
	k := newKey(t, bucket.Quota{Resource: "requests", Limit: 10, Per: second}, bucket.Quota{Resource: "requests", Limit: 12, Per: minute})
	k.want(bucket.Granted, take(10))
	k.wait(second)
	k.want(bucket.Granted, take(2))
	r := k.want(bucket.Refused, take(1))
	if r.Quota != 1 || r.RetryAfter != 4*second {
		t.Errorf("got quota %d after %d, want the minute's after 4 s", r.Quota, r.RetryAfter)
	}
}

func TestTooLargeIsExact(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 600))
	if r := k.want(bucket.TooLarge, take(0, math.Nextafter(600, 601))); r.Quota != 1 || r.RetryAfter != 0 {
		t.Errorf("got %+v, want quota 1 and no hint", r)
	}
	if r := k.want(bucket.TooLarge, take(61, 601)); r.Quota != 0 {
		t.Errorf("got quota %d, want the first", r.Quota)
	}
	k.want(bucket.Refused, take(60, 600)) // a burst itself can
	k.do(bucket.Op{Kind: bucket.Block, Span: minute})
	k.want(bucket.TooLarge, take(61)) // said at once, blocked or not
}

func TestCostEdges(t *testing.T) {
	for _, c := range []struct {
		kind bucket.Kind
		cost float64
		want bucket.Status
	}{
		{bucket.Acquire, 0, bucket.Granted}, {bucket.Acquire, math.Copysign(0, -1), bucket.Granted}, {bucket.Acquire, 5e-324, bucket.Granted},
		{bucket.Acquire, -1, bucket.Invalid}, {bucket.Acquire, math.NaN(), bucket.Invalid}, {bucket.Acquire, math.Inf(1), bucket.Invalid},
		{bucket.Acquire, bucket.MaxUnits, bucket.TooLarge}, {bucket.Acquire, math.MaxFloat64, bucket.Invalid},
		{bucket.Record, 0, bucket.Done}, {bucket.Record, bucket.MaxUnits, bucket.Done}, {bucket.Record, -1, bucket.Invalid}, {bucket.Record, math.NaN(), bucket.Invalid},
		{bucket.Adjust, -bucket.MaxUnits, bucket.Done}, {bucket.Adjust, bucket.MaxUnits, bucket.Done}, {bucket.Adjust, math.Inf(-1), bucket.Invalid},
		{bucket.Adjust, math.NaN(), bucket.Invalid}, {bucket.Adjust, 2 * bucket.MaxUnits, bucket.Invalid},
	} {
		k := newKey(t, tokens())
		before := k.level(0)
		if r := k.do(bucket.Op{Kind: c.kind, Cost: []float64{c.cost}})[0]; r.Status != c.want {
			t.Errorf("%v %v: got %v, want %v", c.kind, c.cost, r.Status, c.want)
		}
		if c.want != bucket.Granted && c.want != bucket.Done && k.level(0) != before {
			t.Errorf("%v %v: changed the level to %v", c.kind, c.cost, k.level(0))
		}
	}
	k := newKey(t, tokens())
	k.want(bucket.Invalid, take(1, 1)) // more costs than resources
}

func TestInvalidFields(t *testing.T) {
	nan, long := math.NaN(), string(make([]byte, 300))
	for name, o := range map[string]bucket.Op{
		"no kind":              {},
		"unknown kind":         {Kind: 99},
		"place":                {Kind: bucket.Acquire, Place: "\n"},
		"long place":           {Kind: bucket.Acquire, Place: long},
		"flow":                 {Kind: bucket.Adjust, Flow: "\n"},
		"negative weight":      {Kind: bucket.Acquire, Weight: -1},
		"tiny weight":          {Kind: bucket.Record, Weight: 1e-9},
		"huge weight":          {Kind: bucket.Acquire, Weight: 1e9},
		"weight NaN":           {Kind: bucket.Acquire, Weight: nan},
		"weight infinite":      {Kind: bucket.Acquire, Weight: math.Inf(1)},
		"poll":                 {Kind: bucket.Acquire, Place: "p", Poll: bucket.MaxSpan + 1},
		"grace":                {Kind: bucket.Acquire, Place: "p", Grace: bucket.MaxSpan + 1},
		"negative grace":       {Kind: bucket.Acquire, Place: "p", Grace: -1},
		"leave nothing":        {Kind: bucket.Leave},
		"limit 0":              {Kind: bucket.SetLimit},
		"limit NaN":            {Kind: bucket.SetLimit, Limit: nan},
		"limit huge":           {Kind: bucket.SetLimit, Limit: 2 * bucket.MaxUnits},
		"burst negative":       {Kind: bucket.SetLimit, Limit: 1, Burst: -1},
		"burst NaN":            {Kind: bucket.SetLimit, Limit: 1, Burst: nan},
		"quota":                {Kind: bucket.SetLimit, Limit: 1, Quota: 1},
		"quota negative":       {Kind: bucket.ClearLimit, Quota: -1},
		"observe level":        {Kind: bucket.Observe, Level: math.Inf(1)},
		"observe limit":        {Kind: bucket.Observe, Limit: -1},
		"observe limit NaN":    {Kind: bucket.Observe, Limit: nan},
		"observe quota":        {Kind: bucket.Observe, Quota: 7},
		"block for too long":   {Kind: bucket.Block, Span: bucket.MaxSpan + 1},
		"block for ever":       {Kind: bucket.Block, Span: bucket.Forever},
		"block before forever": {Kind: bucket.Block, Span: bucket.Forever - 1},
	} {
		k := newKey(t, tokens())
		k.want(bucket.Granted, take(1))
		before := k.state.Clone()
		if r := k.do(o)[0]; r.Status != bucket.Invalid {
			t.Errorf("%s: got %v", name, r.Status)
		}
		if !reflect.DeepEqual(before, k.state.Clone()) {
			t.Errorf("%s: changed the state", name)
		}
	}
}

func TestAdjust(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Done, credit(250))
	k.wantLevel(0, 250)
	k.want(bucket.Done, credit(1000)) // never above the burst
	k.wantLevel(0, 600)
	k.want(bucket.Done, credit(-1000)) // a debt
	k.wantLevel(0, -400)
	k.wait(39 * second)
	k.wantLevel(0, -10) // is paid by refill, not forgotten
	k.want(bucket.Refused, take(1))
	k.want(bucket.Done, credit(11)) // or by credit
	k.want(bucket.Granted, take(1))
}

func TestDebtOutlivesIdleness(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Done, bucket.Op{Kind: bucket.Record, Cost: []float64{6600}})
	k.wait(10 * minute)
	k.wantLevel(0, 0)
	if k.state.Absent(k.now) || k.state.AbsentAt() != k.now+minute {
		t.Errorf("absent at %d, now is %d", k.state.AbsentAt(), k.now)
	}
}

func TestRecordAsksNobody(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 600))
	k.do(bucket.Op{Kind: bucket.Block, Span: minute})
	k.want(bucket.Done, bucket.Op{Kind: bucket.Record, Cost: []float64{0, 700}})
	k.wantLevel(0, 0)
	k.wantLevel(1, -700)
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	for range 5 {
		k.wait(-30 * second)
		k.want(bucket.Refused, take(1))
		k.wait(30 * second)
		k.want(bucket.Refused, take(1))
	}
	k.wait(-second)
	k.want(bucket.Done, credit(-5)) // a stale debit counts too
	k.wait(second + 500*ms)
	k.wantLevel(0, 0)
}

func TestInstantsAreBounded(t *testing.T) {
	for _, now := range []bucket.Micros{math.MinInt64, -1, 0, bucket.MaxInstant, bucket.MaxInstant + 1, math.MaxInt64} {
		k := newKey(t, tokens())
		k.now = now
		k.want(bucket.Granted, take(600))
		if r := k.want(bucket.Refused, take(1)); r.RetryAfter != 100*ms {
			t.Errorf("now %d: hint %d", now, r.RetryAfter)
		}
		o := line("p", 600)
		o.Poll, o.Grace = bucket.MaxSpan, bucket.MaxSpan
		k.want(bucket.Refused, o)
		k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: bucket.MaxSpan})
		r := k.want(bucket.Refused, o)
		if r.RetryAfter <= 0 || k.state.AbsentAt() <= k.state.At {
			t.Errorf("now %d: hint %d, absent at %d", now, r.RetryAfter, k.state.AbsentAt())
		}
		var again bucket.State
		if err := again.Decode(k.state.Encode(nil)); err != nil {
			t.Errorf("now %d: %v", now, err)
		}
	}
}

func TestSetAndClearLimit(t *testing.T) {
	k := newKey(t, bucket.Quota{Resource: "x", Limit: 100, Per: second, Burst: 20})
	set := func(limit, burst float64) {
		t.Helper()
		k.want(bucket.Done, bucket.Op{Kind: bucket.SetLimit, Limit: limit, Burst: burst})
	}
	k.want(bucket.Granted, take(15))
	set(200, 0) // the ratio of burst to limit stays, the level too
	k.wantLevel(0, 5)
	k.wait(500 * ms)
	k.wantLevel(0, 40)
	set(10, 3) // a level above the burst is cut
	k.wantLevel(0, 3)
	k.want(bucket.TooLarge, take(4))
	k.wait(bucket.Day)
	if k.state.Absent(k.now) || k.state.AbsentAt() != bucket.Forever {
		t.Error("an override must outlive idleness")
	}
	k.want(bucket.Done, bucket.Op{Kind: bucket.ClearLimit})
	k.wantLevel(0, 3) // levels stay
	k.wait(170 * ms)
	k.wantLevel(0, 20)
	if !k.state.Absent(k.now) {
		t.Error("without its override the key is absent")
	}
	set(bucket.MaxUnits, 0)
	if got := k.state.Buckets[0].Cap(); got > bucket.MaxUnits {
		t.Errorf("burst %v", got)
	}
	for range 4 { // an override of an override
		set(5e-324, 0)
		set(bucket.MaxUnits, bucket.MaxUnits)
	}
	k.want(bucket.Refused, take(bucket.MaxUnits))
}

func TestOverrideHoldsForOthersLimitsToo(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Done, bucket.Op{Kind: bucket.SetLimit, Limit: 60})
	k.limits = mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 9000, Per: minute})
	k.want(bucket.TooLarge, take(61))
	if b := k.state.Buckets[0]; b.Rate() != 60 || b.Limit != 9000 {
		t.Errorf("rate %v over limit %v", b.Rate(), b.Limit)
	}
}

func TestBlock(t *testing.T) {
	k := newKey(t, tokens())
	block := func(d bucket.Micros) { t.Helper(); k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: d}) }
	block(10 * second)
	block(5 * second) // a longer block stays
	if r := k.want(bucket.Refused, take(1)); r.Quota != -1 || r.RetryAfter != 10*second {
		t.Errorf("got %+v", r)
	}
	k.want(bucket.Refused, take(0))
	k.want(bucket.Refused, line("p", 1))
	k.wait(10*second - 1)
	if r := k.want(bucket.Refused, take(1)); r.RetryAfter != 1 {
		t.Errorf("got %+v", r)
	}
	k.wait(1)
	k.want(bucket.Granted, line("p", 1))
	block(minute)
	block(0) // ends it
	k.want(bucket.Granted, take(1))
	block(minute)
	block(-5)
	k.want(bucket.Granted, take(1))
	k.want(bucket.Granted, take(k.level(0)))
	block(second)
	if r := k.want(bucket.Refused, take(50)); r.Quota != 0 || r.RetryAfter != 5*second {
		t.Errorf("a bucket that takes longer than the block binds: got %+v", r)
	}
}

func TestObserve(t *testing.T) {
	k := newKey(t, tokens())
	observe := func(level, limit float64) {
		t.Helper()
		k.want(bucket.Done, bucket.Op{Kind: bucket.Observe, Level: level, Limit: limit})
	}
	observe(100, 0)
	k.wantLevel(0, 100)
	observe(300, 0) // never raises
	k.wantLevel(0, 100)
	k.wait(second)
	observe(110, 0) // what it has refilled to meanwhile
	k.wantLevel(0, 110)
	observe(math.NaN(), 300) // only the limit: followed
	if b := k.state.Buckets[0]; b.Rate() != 300 || b.Cap() != 300 {
		t.Errorf("rate %v, cap %v", b.Rate(), b.Cap())
	}
	observe(50, 600) // the quota's own limit ends the override
	if b := k.state.Buckets[0]; b.OverLimit != 0 || b.Level != 50 {
		t.Errorf("%+v", b)
	}
	observe(-3, 0)
	k.wantLevel(0, -3)
}

func TestPeekCopies(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, line("p", 5))
	before := k.state.Clone()
	k.wait(second)
	s := k.want(bucket.Done, bucket.Op{Kind: bucket.Peek}).State
	if s.Buckets[0].Level != 10 || s.At != k.now || len(s.Line) != 1 {
		t.Errorf("copy: %+v", s)
	}
	s.Buckets[0].Level, s.Line[0].Cost[0], s.Flows[0].Finish = 99, 99, 99
	if !reflect.DeepEqual(before, k.state.Clone()) {
		t.Errorf("peek changed the state: %+v, before %+v", k.state, before)
	}
}

func TestRebase(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, line("a", 100))
	k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: minute})
	k.wait(-bucket.Hour)
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
	k.wantLevel(0, 0) // levels stay
	if r := k.want(bucket.Refused, line("a", 100)); r.RetryAfter != minute || r.Place != 1 {
		t.Errorf("got %+v", r)
	}
	k.wait(9 * second)
	k.wantLevel(0, 90) // and refill goes on
	k.wantLine("a")
	k.wait(3 * second)
	k.wantLine()
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase}) // not in the future: nothing to do
	k.wantLevel(0, 120)

	k = newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, bucket.Op{Kind: bucket.Acquire, Cost: []float64{600}, Place: "a"})
	k.now = 3
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
	var again bucket.State
	if err := again.Decode(k.state.Encode(nil)); err != nil {
		t.Errorf("rebased to the beginning of time: %v", err)
	}
}

// Instants that lie further in the past than the beginning of time are the beginning itself.
func TestRebaseToTheBeginning(t *testing.T) {
	k := newKey(t, tokens())
	k.now = 1 * second
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, bucket.Op{Kind: bucket.Acquire, Cost: []float64{600}, Place: "a", Poll: second, Grace: minute})
	k.now = 10 * second
	k.want(bucket.Done, bucket.Op{Kind: bucket.Record, Cost: []float64{1}})
	k.now = 0
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
	if p := k.state.Line[0]; p.Since != 0 || p.Due != 0 || p.Lease != 52*second || k.state.Blocked != 0 || k.state.At != 0 {
		t.Errorf("since %d, due %d, lease %d, at %d; want 0, 0, 52 s, 0", p.Since, p.Due, p.Lease, k.state.At)
	}
}

// At a large instant two ranks can round to the same, at a small one not: the order must be what a store checks it to be.
func TestRebaseKeepsTheLineInOrder(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, line("z", 1))
	k.want(bucket.Done, inFlow("a", bucket.Op{Kind: bucket.Record, Cost: []float64{1e-7}}))
	k.want(bucket.Refused, line("a", 1))
	k.want(bucket.Refused, line("b", 1))
	k.wantLine("z", "a", "b")
	k.now = 8
	k.want(bucket.Done, bucket.Op{Kind: bucket.Rebase})
	k.wantLine("z", "b", "a")
	checkStored(t, string(k.state.Encode(nil)))
}

func TestWithoutLimits(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.limits = nil
	k.want(bucket.Granted, take())
	k.want(bucket.Invalid, take(1))
	k.want(bucket.Invalid, bucket.Op{Kind: bucket.ClearLimit})
	k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: second})
	k.want(bucket.Refused, take())
	k.want(bucket.Done, bucket.Op{Kind: bucket.Leave, Place: "nobody"})
	k.wantLevel(0, 0)
}

func TestRequestsApplyInOrder(t *testing.T) {
	k := newKey(t, tokens())
	r := k.do(take(600), take(1), credit(5), take(5), take(1))
	for i, want := range []bucket.Status{bucket.Granted, bucket.Refused, bucket.Done, bucket.Granted, bucket.Refused} {
		if r[i].Status != want {
			t.Errorf("operation %d: got %v, want %v", i, r[i].Status, want)
		}
	}
}
