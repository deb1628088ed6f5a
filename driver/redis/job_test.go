package redis

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// A batch over many keys is packed with at most three allocations a key: nothing else is allocated for each.
func TestABatchIsPackedWithFewAllocations(t *testing.T) {
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 10_000, Per: bucket.Minute},
		bucket.Quota{Resource: "tokens", Limit: 2_000_000, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1_000_000, Per: bucket.Day},
	)
	if err != nil {
		t.Fatal(err)
	}
	const keys = 64
	batch := make([]driver.Request, keys)
	for i := range batch {
		ops := []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1, 14_000}}}
		batch[i] = driver.Request{Key: "model-" + strconv.Itoa(i), Limits: limits, Ops: ops}
	}
	client := redis.NewClient(&redis.Options{}) // connects to nothing until it is used
	defer client.Close()
	d := New(client, nil)
	got := testing.AllocsPerRun(100, func() {
		for _, name := range d.newJob(batch).names {
			name.Done()
		}
	})
	if got > 3*keys {
		t.Errorf("%v allocations for %d keys", got, keys)
	}
}

// The requests on a key are one call, in their order, whatever limits they have.
func TestRequestsOnAKeyAreOneCall(t *testing.T) {
	one, err := bucket.NewLimits(bucket.Quota{Resource: "r", Limit: 1, Per: bucket.Second})
	if err != nil {
		t.Fatal(err)
	}
	other, err := bucket.NewLimits(bucket.Quota{Resource: "r", Limit: 2, Per: bucket.Second})
	if err != nil {
		t.Fatal(err)
	}
	ops := []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{1}}}
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	j := New(client, nil).newJob([]driver.Request{
		{Key: "a", Limits: one, Ops: ops},
		{Key: "b", Limits: one, Ops: ops},
		{Key: "a", Limits: one, Ops: ops},
		{Key: "a", Limits: other, Ops: ops},
		{Key: "b", Limits: other, Ops: ops},
	})
	for i, want := range []struct {
		key   string
		parts []int
		names int // of requests that the script gets: those with the same limits in a row share one
	}{
		{"throttle:{a}", []int{0, 2, 3}, 2},
		{"throttle:{b}", []int{1, 4}, 2},
	} {
		c := j.calls[i]
		if c.key != want.key || len(c.parts) != len(want.parts) || c.named != want.names {
			t.Errorf("call %d: key %s, parts %v, %d names, want %+v", i, c.key, c.parts, c.named, want)
			continue
		}
		for k := range want.parts {
			if c.parts[k] != want.parts[k] {
				t.Errorf("call %d: parts %v, want %v", i, c.parts, want.parts)
			}
		}
		if got := len(c.args.AppendTo(nil)); got != 4*want.names {
			t.Errorf("call %d has %d arguments, want %d", i, got, 4*want.names)
		}
	}
}
