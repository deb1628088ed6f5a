package bucket_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// A driver that keeps the state in memory and one that decodes it for each request must come to the same, bit for bit.
func TestStoredStateIsTheSame(t *testing.T) {
	const seed = 20261124
	rnd := rand.New(rand.NewPCG(seed, seed))
	limits := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: 1e5 / 3.0, Per: minute}, bucket.Quota{Resource: "requests", Limit: 7, Per: 11 * second})
	kept, now, refused := &bucket.State{}, epoch, 0
	for i := range 3000 {
		var stored bucket.State
		if i > 0 {
			if err := stored.Decode(kept.Encode(nil)); err != nil {
				t.Fatal(err)
			}
		}
		now += bucket.Micros(rnd.Int64N(int64(second)))
		op := bucket.Op{Kind: bucket.Acquire, Cost: []float64{rnd.Float64() * 6e3, rnd.Float64() * 2}}
		switch rnd.IntN(6) {
		case 0:
			op.Kind = bucket.Record
		case 1:
			op.Kind, op.Cost = bucket.Adjust, []float64{op.Cost[0] / 10, op.Cost[1] / 10}
		case 2:
			op.Kind, op.Cost = bucket.Peek, nil
		case 3:
			op.Place, op.Grace = "p", bucket.Micros(rnd.Int64N(int64(second)))
		}
		a, b := make([]bucket.Result, 1), make([]bucket.Result, 1)
		kept.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{op}}, a)
		stored.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{op}}, b)
		if a[0].State != nil && b[0].State != nil {
			if !bytes.Equal(a[0].State.Encode(nil), b[0].State.Encode(nil)) {
				t.Fatalf("seed %d, step %d: peek shows %s and %s", seed, i, a[0].State.Encode(nil), b[0].State.Encode(nil))
			}
			a[0].State, b[0].State = nil, nil
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d, step %d: %+v and %+v", seed, i, a, b)
		}
		if x, y := kept.Encode(nil), stored.Encode(nil); !bytes.Equal(x, y) {
			t.Fatalf("seed %d, step %d, %v:\n%s, stored\n%s", seed, i, op.Kind, x, y)
		}
		if a[0].Status == bucket.Refused {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no acquire was refused")
	}
}
