package bucket_test

import (
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

const (
	us     = bucket.Micros(1)
	ms     = 1000 * us
	second = bucket.Second
	minute = bucket.Minute
	epoch  = bucket.Micros(1_700_000_000_000_000)
)

// key is a key under test, with a clock that the test sets.
type key struct {
	t      *testing.T
	state  bucket.State
	now    bucket.Micros
	limits *bucket.Limits
}

func newKey(t *testing.T, quotas ...bucket.Quota) *key {
	t.Helper()
	return &key{t: t, now: epoch, limits: mustLimits(t, quotas...)}
}

func mustLimits(t testing.TB, quotas ...bucket.Quota) *bucket.Limits {
	t.Helper()
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// tokens is a quota of 600 a minute: 10 a second, one in 100 ms.
func tokens() bucket.Quota { return bucket.Quota{Resource: "tokens", Limit: 600, Per: minute} }

func requests() bucket.Quota { return bucket.Quota{Resource: "requests", Limit: 60, Per: minute} }

// do applies operations as one request.
func (k *key) do(ops ...bucket.Op) []bucket.Result {
	k.t.Helper()
	return k.request(bucket.Request{Limits: k.limits, Ops: ops})
}

func (k *key) request(r bucket.Request) []bucket.Result {
	k.t.Helper()
	results := make([]bucket.Result, len(r.Ops))
	k.state.Apply(k.now, &r, results)
	return results
}

// want applies one operation and expects an outcome.
func (k *key) want(status bucket.Status, op bucket.Op) bucket.Result {
	k.t.Helper()
	r := k.do(op)[0]
	if r.Status != status {
		k.t.Fatalf("%v %v place %q: got %v, want %v (%+v)", op.Kind, op.Cost, op.Place, r.Status, status, r)
	}
	return r
}

// level is bucket i's level at the key's now.
func (k *key) level(i int) float64 {
	k.t.Helper()
	return k.do(bucket.Op{Kind: bucket.Peek})[0].State.Buckets[i].Level
}

func (k *key) wantLevel(i int, want float64) {
	k.t.Helper()
	if got := k.level(i); got != want {
		k.t.Fatalf("level of bucket %d: got %v, want %v", i, got, want)
	}
}

// wantLine expects the line to hold these places, in order.
func (k *key) wantLine(ids ...string) {
	k.t.Helper()
	var got []string
	for _, p := range k.do(bucket.Op{Kind: bucket.Peek})[0].State.Line {
		got = append(got, p.ID)
	}
	if len(got) != len(ids) {
		k.t.Fatalf("line: got %q, want %q", got, ids)
	}
	for i := range ids {
		if got[i] != ids[i] {
			k.t.Fatalf("line: got %q, want %q", got, ids)
		}
	}
}

func (k *key) wait(d bucket.Micros) { k.now += d }

func take(cost ...float64) bucket.Op { return bucket.Op{Kind: bucket.Acquire, Cost: cost} }

// line is an acquire that waits, in a flow of its own.
func line(place string, cost ...float64) bucket.Op {
	return bucket.Op{Kind: bucket.Acquire, Cost: cost, Place: place, Flow: place, Poll: 10 * second, Grace: second}
}

func inFlow(flow string, o bucket.Op) bucket.Op { o.Flow = flow; return o }

func credit(cost ...float64) bucket.Op { return bucket.Op{Kind: bucket.Adjust, Cost: cost} }
