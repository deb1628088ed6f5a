package bucket_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// drained is a key without a token left, so that whoever comes must wait.
func drained(t *testing.T) *key {
	t.Helper()
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	return k
}

func TestAPlaceProtectsItsCost(t *testing.T) {
	k := drained(t)
	r := k.want(bucket.Refused, line("a", 100))
	if r.Place != 1 || r.RetryAfter != 10*second || r.Quota != 0 {
		t.Errorf("first: %+v", r)
	}
	r = k.want(bucket.Refused, line("b", 50))
	if r.Place != 2 || r.RetryAfter != 15*second {
		t.Errorf("second: %+v", r)
	}
	k.wait(5 * second)
	if r := k.want(bucket.Refused, take(1)); r.Place != 3 || r.RetryAfter != 10*second+100*ms {
		t.Errorf("one who doesn't wait obeys the same rule: %+v", r)
	}
	k.wait(5 * second)
	k.want(bucket.Refused, line("b", 50)) // a's hundred is there, and is a's
	k.want(bucket.Granted, line("a", 100))
	k.want(bucket.Refused, line("b", 50))
	k.wait(5 * second)
	k.want(bucket.Granted, line("b", 50))
	k.wantLine()
}

func TestLeftoverIsUsedAtOnce(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 0)) // no requests left, 600 tokens
	k.want(bucket.Refused, line("a", 1, 400))
	k.want(bucket.Granted, take(0, 200)) // beyond what a waits for
	k.want(bucket.Refused, take(0, 1))
}

func TestNoPlaceNoTrace(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, take(5))
	k.wantLine()
	k.want(bucket.Refused, line("a", 5))
	before := string(k.state.Encode(nil))
	k.want(bucket.Refused, inFlow("a", take(5)))
	if after := string(k.state.Encode(nil)); after != before {
		t.Errorf("got %s\nbefore %s", after, before)
	}
}

func TestOneWithoutAPlaceStandsFurtherBackLater(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, inFlow("f", line("a", 10)))
	for _, id := range []string{"b", "c"} { // due later than a newcomer of another flow, but they age
		o := inFlow("f", line(id, 20))
		o.Grace = minute
		k.want(bucket.Refused, o)
	}
	o := inFlow("g", take(100))
	r := k.want(bucket.Refused, o)
	if r.Place != 2 || r.RetryAfter != 13*second {
		t.Errorf("got %+v: want place 2 now, and the hint to count in one more, who will stand before it by then", r)
	}
	for i := range k.state.Line {
		k.state.Line[i].Lease = k.now + minute
	}
	k.wait(r.RetryAfter - 1)
	k.want(bucket.Refused, o)
	k.wait(1)
	k.want(bucket.Granted, o)
}

func TestUncontendedKeyCarriesNoTags(t *testing.T) {
	k := newKey(t, tokens())
	check := func() {
		t.Helper()
		if s := &k.state; len(s.Line) != 0 || len(s.Flows) != 0 || s.Virtual != 0 || s.Arrivals != 0 {
			t.Fatalf("tags without a line: %+v", s)
		}
	}
	k.want(bucket.Granted, line("a", 300))
	k.want(bucket.Done, inFlow("a", credit(10)))
	k.want(bucket.Done, inFlow("a", bucket.Op{Kind: bucket.Record, Cost: []float64{310}}))
	check()
	k.want(bucket.Refused, line("b", 5))
	k.want(bucket.Refused, line("c", 5))
	k.wait(second)
	k.want(bucket.Granted, line("c", 5))
	k.want(bucket.Granted, line("b", 5))
	check()
	k.want(bucket.Refused, line("b", 50))
	k.want(bucket.Done, bucket.Op{Kind: bucket.Leave, Place: "b"})
	check()
	k.want(bucket.Refused, line("b", 50))
	k.wait(minute)
	k.do()
	check()
}

func TestPriorityComesFirst(t *testing.T) {
	k := drained(t)
	with := func(priority int32, o bucket.Op) bucket.Op { o.Priority = priority; return o }
	k.want(bucket.Refused, line("a", 10))
	k.want(bucket.Refused, with(2, line("b", 10)))
	k.want(bucket.Refused, with(-1<<31, line("c", 10)))
	k.want(bucket.Refused, with(1<<31-1, line("d", 10)))
	k.want(bucket.Refused, with(2, line("e", 10)))
	k.wantLine("d", "b", "e", "a", "c")
	if r := k.want(bucket.Refused, with(1, take(5))); r.Place != 4 {
		t.Errorf("where one would stand: %d", r.Place)
	}
	k.want(bucket.Refused, with(3, line("a", 10))) // raised
	k.wantLine("d", "a", "b", "e", "c")
}

func TestFlowsTakeTurns(t *testing.T) {
	k := drained(t)
	for i := range 3 {
		k.want(bucket.Refused, inFlow("batch", line(fmt.Sprint("b", i), 50)))
	}
	k.want(bucket.Refused, inFlow("production", line("p0", 50)))
	k.want(bucket.Refused, inFlow("production", line("p1", 50)))
	k.wantLine("b0", "p0", "b1", "p1", "b2")
}

func TestSharesAreDominant(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 600))
	k.want(bucket.Refused, inFlow("a", line("a0", 1, 300))) // half of the tokens
	k.want(bucket.Refused, inFlow("b", line("b0", 6, 1)))   // a tenth of the requests
	k.want(bucket.Refused, inFlow("a", line("a1", 1, 1)))
	k.want(bucket.Refused, inFlow("b", line("b1", 6, 1)))
	k.want(bucket.Refused, inFlow("b", line("b2", 6, 1)))
	k.wantLine("a0", "b0", "b1", "b2", "a1")
	if a, b := k.state.Line[0].Span, k.state.Line[1].Span; a != float64(30*second) || b != float64(6*second) {
		t.Errorf("spans %v and %v: want the time that the scarcest takes to refill", a, b)
	}
}

func TestWeights(t *testing.T) {
	k := drained(t)
	with := func(weight float64, o bucket.Op) bucket.Op { o.Weight = weight; return o }
	for i := range 3 {
		k.want(bucket.Refused, with(3, inFlow("heavy", line(fmt.Sprint("h", i), 60))))
		k.want(bucket.Refused, inFlow("light", line(fmt.Sprint("l", i), 60)))
	}
	k.wantLine("h0", "l0", "h1", "h2", "l1", "l2")
}

func TestLeavingGivesTheShareBack(t *testing.T) {
	k := drained(t)
	for i := range 4 {
		k.want(bucket.Refused, inFlow("f", line(fmt.Sprint("f", i), 60)))
	}
	k.want(bucket.Refused, line("g", 60))
	k.wantLine("f0", "g", "f1", "f2", "f3")
	k.want(bucket.Done, bucket.Op{Kind: bucket.Leave, Place: "f1"})
	var starts []float64
	for _, p := range k.state.Line {
		starts = append(starts, p.Start/float64(second))
	}
	if want := []float64{0, 0, 6, 12}; !slices.Equal(starts, want) {
		t.Errorf("starts %v, want %v", starts, want)
	}
	k.want(bucket.Done, bucket.Op{Kind: bucket.Leave, Place: "nobody"}) // no error
	k.wantLine("f0", "g", "f2", "f3")
}

func TestSettlingGivesTheShareBack(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, inFlow("f", line("f0", 300)))
	k.want(bucket.Refused, inFlow("g", line("g0", 60)))
	k.want(bucket.Refused, inFlow("g", line("g1", 60)))
	k.want(bucket.Refused, inFlow("f", line("f1", 300)))
	k.wantLine("f0", "g0", "g1", "f1")
	k.wait(30 * second)
	for i := range k.state.Line {
		k.state.Line[i].Lease = k.now
	}
	k.want(bucket.Granted, inFlow("f", line("f0", 300)))
	k.want(bucket.Done, inFlow("f", credit(299)))
	k.wantLine("g0", "f1", "g1") // it used next to nothing, so its next is due next
	k.want(bucket.Done, inFlow("f", bucket.Op{Kind: bucket.Record, Cost: []float64{299}}))
	k.wantLine("g0", "g1", "f1")
	k.want(bucket.Done, inFlow("stranger", credit(5))) // was charged nothing, is given nothing
	if len(k.state.Flows) != 2 {
		t.Errorf("tags %+v", k.state.Flows)
	}
}

func TestAcquiresWithoutAPlaceAreChargedToTheirFlow(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60))
	k.want(bucket.Refused, line("a", 1, 100))
	k.want(bucket.Granted, inFlow("greedy", take(0, 200)))
	k.want(bucket.Refused, inFlow("greedy", line("g", 1, 1)))
	k.want(bucket.Refused, inFlow("modest", line("m", 1, 1)))
	k.wantLine("a", "m", "g")
}

func TestLeaseRunsOut(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, line("a", 300)) // polls at 10 s, lives until 11
	k.want(bucket.Refused, line("b", 50))
	k.wait(11 * second)
	if r := k.want(bucket.Refused, line("b", 50)); r.Place != 2 {
		t.Errorf("at the lease's end: %+v", r)
	}
	k.wait(1)
	k.want(bucket.Granted, line("b", 50)) // one microsecond later a is gone, and nothing is lost with it
	k.wantLine()
	if got, want := k.level(0), 60.00001; got != want {
		t.Errorf("level %v, want %v", got, want)
	}
}

func TestPollRenewsTheLease(t *testing.T) {
	k := drained(t)
	o := line("a", 600)
	o.Poll, o.Grace = second, 500*ms
	for range 59 {
		k.want(bucket.Refused, o)
		if p := k.state.Line[0]; p.Due != k.now+second || p.Lease != k.now+1500*ms || p.Since != epoch {
			t.Fatalf("place %+v at %d", p, k.now)
		}
		k.wait(1500 * ms)
		k.now -= 500 * ms
	}
	k.wait(second)
	k.want(bucket.Granted, o)
	k.want(bucket.Refused, line("b", 1)) // the hint comes before the poll
	if p := k.state.Line[0]; p.Due != k.now+100*ms {
		t.Errorf("due after %d", p.Due-k.now)
	}
	o = line("c", 600)
	o.Poll = 0 // asks at the hint, however far
	r := k.want(bucket.Refused, o)
	if p := k.state.Line[1]; p.Due != k.now+r.RetryAfter {
		t.Errorf("due after %d, hint %d", p.Due-k.now, r.RetryAfter)
	}
}

func TestAPlaceIsTakenOver(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, inFlow("f", line("a", 300)))
	k.want(bucket.Refused, inFlow("f", line("b", 60)))
	k.want(bucket.Refused, inFlow("g", line("c", 60)))
	k.wantLine("a", "c", "b")
	k.want(bucket.Refused, inFlow("f", line("a", 10))) // its caller gave up, the next has less to ask
	if a, b := k.state.Line[0], k.state.Line[2]; a.Cost[0] != 10 || a.Span != float64(second) || b.Start != float64(second) {
		t.Errorf("taken over: %+v, its flow's next: %+v", a, b)
	}
	k.want(bucket.Refused, inFlow("g", line("a", 10))) // another flow: it starts anew
	if k.wantLine("b", "c", "a"); k.state.Line[0].Start != 0 {
		t.Errorf("the flow that it left got nothing back: %+v", k.state.Line[0])
	}
	k.wait(second)
	k.want(bucket.TooLarge, inFlow("g", line("a", 601))) // can't ever be served: the place goes
	k.wantLine("b", "c")
}

func TestATakenOverPlaceIsServedAtItsNewCost(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, inFlow("f", line("a", 300)))
	k.want(bucket.Refused, inFlow("f", line("b", 60)))
	k.wait(second)
	k.want(bucket.Granted, inFlow("f", line("a", 10)))
	if b := k.state.Line[0]; b.Start != float64(second) {
		t.Errorf("the flow was charged for what nobody took: %+v", b)
	}
}

func TestFollowers(t *testing.T) {
	k := newKey(t, tokens())
	behind := func(cost float64) bucket.Op { o := line("p", cost); o.After = true; return o }
	r := k.do(line("p", 300), behind(200), behind(150), behind(10), credit(1))
	for i, want := range []bucket.Status{bucket.Granted, bucket.Granted, bucket.Refused, bucket.Skipped, bucket.Done} {
		if r[i].Status != want {
			t.Errorf("operation %d: got %v, want %v", i, r[i].Status, want)
		}
	}
	k.wantLine("p")
	if p := k.state.Line[0]; p.Cost[0] != 150 {
		t.Errorf("the first who must wait takes the place: %+v", p)
	}
	if r := k.do(behind(0)); r[0].Status != bucket.Skipped { // nothing before it
		t.Errorf("got %v", r[0].Status)
	}
	after := credit(1)
	after.After = true
	if r := k.do(credit(1), after, line("p", 150)); r[1].Status != bucket.Skipped {
		t.Errorf("done is not granted: got %v", r[1].Status)
	}
}

func TestAheadMoreThanABurst(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, line("a", 400))
	if r := k.want(bucket.Refused, line("b", 400)); r.Place != 2 || r.RetryAfter != 40*second {
		t.Errorf("when those at the front should be gone: %+v", r)
	}
	k.wait(10*second + 500*ms)
	for i := range k.state.Line {
		k.state.Line[i].Lease = k.now + minute
	}
	k.want(bucket.Done, credit(500))
	if r := k.want(bucket.Refused, line("b", 400)); r.RetryAfter != ms {
		t.Errorf("the front is covered and overdue: %+v", r)
	}
	k.want(bucket.Granted, line("a", 400))
	k.wait(20 * second)
	k.want(bucket.Granted, line("b", 400))
}

func TestAFullBurstIsServed(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(1))
	k.want(bucket.Refused, line("big", 600))
	served := false
	for i := 0; i < 5 && !served; i++ {
		k.want(bucket.Refused, line("small", 1))
		k.wait(100 * ms)
		served = k.do(line("big", 600))[0].Status == bucket.Granted
	}
	if !served {
		t.Error("others kept passing it")
	}
}

func TestLoweredLimitWhileWaiting(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, line("a", 500))
	k.want(bucket.Done, bucket.Op{Kind: bucket.SetLimit, Limit: 60})
	if r := k.want(bucket.Refused, line("b", 10)); r.Place != 2 || r.RetryAfter <= 0 {
		t.Errorf("behind one who can't be served any more: %+v", r)
	}
	k.want(bucket.TooLarge, line("a", 500))
	if r := k.want(bucket.Refused, line("b", 10)); r.Place != 1 || r.RetryAfter != 10*second {
		t.Errorf("got %+v", r)
	}
}

func TestReady(t *testing.T) {
	k := drained(t)
	ready := func() (ids []string) {
		k.state.Ready(k.now, func(id string) bool { ids = append(ids, id); return len(ids) < 2 })
		return ids
	}
	for i := range 4 {
		k.want(bucket.Refused, line(fmt.Sprint("p", i), 100))
	}
	k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: second})
	k.want(bucket.Done, credit(150))
	if got := ready(); got != nil {
		t.Errorf("blocked: %v", got)
	}
	k.wait(second)
	if got := ready(); !slices.Equal(got, []string{"p0"}) {
		t.Errorf("got %v, want p0", got)
	}
	k.want(bucket.Done, credit(300))
	if got := ready(); !slices.Equal(got, []string{"p0", "p1"}) { // yield ends it
		t.Errorf("got %v, want p0 and p1", got)
	}
	k.want(bucket.Done, credit(-360))
	k.state.Line[0].Lease = k.now - 1 // dead: neither told nor protected
	if got := ready(); !slices.Equal(got, []string{"p1"}) {
		t.Errorf("got %v, want p1", got)
	}
	k.want(bucket.Done, bucket.Op{Kind: bucket.SetLimit, Quota: 0, Limit: 50})
	if got := ready(); !slices.Equal(got, []string{"p1", "p2"}) { // neither will ever fit
		t.Errorf("got %v, want p1 and p2", got)
	}
}

func TestTagsAreBounded(t *testing.T) {
	k := drained(t)
	k.want(bucket.Refused, line("a", 600))
	for i := range 1000 {
		k.want(bucket.Done, inFlow(fmt.Sprint("tenant", i), bucket.Op{Kind: bucket.Record, Cost: []float64{1}}))
	}
	if n := len(k.state.Flows); n != 256 {
		t.Errorf("%d tags are kept", n)
	}
}

func TestTinyLimitsGiveFiniteTags(t *testing.T) {
	k := newKey(t, bucket.Quota{Resource: "x", Limit: 5e-324, Per: bucket.MaxSpan, Burst: bucket.MaxUnits})
	k.want(bucket.Granted, take(bucket.MaxUnits))
	o := line("a", bucket.MaxUnits)
	o.Weight = 1e-6
	k.want(bucket.Refused, o)
	k.want(bucket.Refused, inFlow("a", line("b", 1)))
	k.want(bucket.Done, inFlow("a", credit(1)))
	var again bucket.State
	if err := again.Decode(k.state.Encode(nil)); err != nil {
		t.Error(err)
	}
}
