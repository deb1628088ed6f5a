package bucket_test

import (
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

func TestResizingKeepsLevels(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(50, 500))
	k.limits = mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 6000, Per: minute}, requests())
	k.wantLevel(0, 10)
	k.wantLevel(1, 100) // larger: kept
	k.wait(second)
	k.wantLevel(1, 200) // at the new rate from then on
	k.limits = mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 60, Per: minute}, requests())
	k.wantLevel(1, 60) // smaller: within the burst
	k.want(bucket.Done, credit(0, -100))
	k.limits = mustLimits(t, tokens(), requests())
	k.wantLevel(1, -40) // a debt: kept
}

func TestResizeRefillsAtTheOldRateFirst(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.wait(second)
	k.limits = mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 60000, Per: minute})
	k.wantLevel(0, 10)
}

func TestAddedQuotaStartsFull(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.limits = mustLimits(t, tokens(), requests(), bucket.Quota{Resource: "dollars", Limit: 3, Per: bucket.Day})
	k.wantLevel(0, 3)
	k.wantLevel(1, 60)
	k.wantLevel(2, 0)
}

func TestForeignBucketsAreKeptUntilFull(t *testing.T) {
	k := newKey(t, tokens(), requests())
	both := k.limits
	k.want(bucket.Granted, take(60, 600))
	k.limits = mustLimits(t, tokens())
	k.wait(30 * second)
	k.want(bucket.Granted, take(300))
	if len(k.state.Buckets) != 2 {
		t.Fatalf("buckets: %+v", k.state.Buckets)
	}
	k.limits = both
	k.wantLevel(0, 30) // another process still counts on it
	k.limits = mustLimits(t, tokens())
	k.wait(30 * second)
	k.want(bucket.Granted, take(1))
	if len(k.state.Buckets) != 1 {
		t.Errorf("a full bucket that nobody names is kept: %+v", k.state.Buckets)
	}
}

func TestForeignBucketsAreKeptForTheLine(t *testing.T) {
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(60, 600))
	k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: 10 * minute})
	o := line("a", 1, 100)
	o.Grace = bucket.Hour
	k.want(bucket.Refused, o)
	k.limits = mustLimits(t, tokens())
	k.wait(5 * minute)
	k.want(bucket.Refused, line("b", 10))
	if p := k.state.Line[0]; len(k.state.Buckets) != 2 || p.Cost[0] != 1 || p.Cost[1] != 100 {
		t.Errorf("buckets %+v, place %+v", k.state.Buckets, p)
	}
	k.limits = mustLimits(t, bucket.Quota{Resource: "a", Limit: 1, Per: 1}, tokens())
	k.want(bucket.Refused, line("c", 1, 2))
	if p := k.state.Line[0]; len(p.Cost) != 3 || p.Cost[0] != 0 || p.Cost[1] != 1 || p.Cost[2] != 100 {
		t.Errorf("costs after a bucket was put before: %v", p.Cost)
	}
}

func TestAnotherPeriodIsAnotherBucket(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.limits = mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Hour})
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, take(1))
}

// What a driver drops must not show: an absent key starts full, whatever the limits then are.
func TestAbsentKeyStartsFullUnderOtherLimits(t *testing.T) {
	larger := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 9000, Per: minute})
	k := newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(1, 1))
	k.now = k.state.AbsentAt()
	k.limits = larger
	k.wantLevel(0, 9000)

	k = newKey(t, tokens(), requests())
	k.want(bucket.Granted, take(1, 1))
	k.now = k.state.AbsentAt() - 1
	k.limits = larger
	if got := k.level(1); got >= 600.1 || got < 599.9 { // requests are a hair below full, and stay
		t.Errorf("level %v: a bucket of a key that isn't absent keeps its level", got)
	}
}

func TestAbsentAt(t *testing.T) {
	full := func(t *testing.T) *key { return newKey(t, tokens(), requests()) }
	for name, c := range map[string]struct {
		do   func(k *key)
		want bucket.Micros // after the key's now
	}{
		"nothing":           {func(k *key) { k.do() }, 0},
		"a token":           {func(k *key) { k.want(bucket.Granted, take(0, 1)) }, 100 * ms},
		"the slower bucket": {func(k *key) { k.want(bucket.Granted, take(1, 1)) }, second},
		"a debt":            {func(k *key) { k.want(bucket.Done, credit(0, -1200)) }, 2 * minute},
		"a block":           {func(k *key) { k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: bucket.Hour}) }, bucket.Hour},
		"an override":       {func(k *key) { k.want(bucket.Done, bucket.Op{Kind: bucket.SetLimit, Limit: 1}) }, bucket.Forever},
		"a place": {func(k *key) {
			k.want(bucket.Done, bucket.Op{Kind: bucket.Block, Span: second})
			k.want(bucket.Refused, line("p", 1))
		}, 2*second + 1},
		"a batch": {func(k *key) {
			k.request(bucket.Request{Limits: k.limits, Ops: []bucket.Op{{Kind: bucket.Peek}}, Batch: "c/1"})
		}, bucket.RetryWindow},
		"forgotten batches": {func(k *key) { k.do(); k.state.Forgotten = k.now - second }, bucket.RetryWindow - second},
	} {
		t.Run(name, func(t *testing.T) {
			k := full(t)
			c.do(k)
			at := k.state.AbsentAt()
			if c.want == bucket.Forever {
				if at != c.want || k.state.Absent(k.now+bucket.Day) {
					t.Fatalf("absent at %d, want never", at)
				}
				return
			}
			if at != k.now+c.want {
				t.Fatalf("absent after %d, want %d", at-k.now, c.want)
			}
			if !k.state.Absent(at) {
				t.Error("not absent at AbsentAt")
			}
			if k.state.Absent(at - 1) {
				t.Error("absent before AbsentAt")
			}
		})
	}
}

func TestCloneIsDeep(t *testing.T) {
	k := newKey(t, tokens())
	k.want(bucket.Granted, take(600))
	k.want(bucket.Refused, line("a", 50))
	k.request(bucket.Request{Limits: k.limits, Ops: []bucket.Op{{Kind: bucket.Peek}}, Batch: "c/1"})
	before := string(k.state.Encode(nil))
	c := k.state.Clone()
	c.Apply(k.now+second, &bucket.Request{Limits: k.limits, Ops: []bucket.Op{line("a", 30), line("b", 5), credit(3)}, Batch: "d/1"}, make([]bucket.Result, 3))
	if got := string(k.state.Encode(nil)); got != before {
		t.Errorf("the original changed:\n%s\nbefore\n%s", got, before)
	}
}
