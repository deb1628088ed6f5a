// Package linear checks concurrent histories of drivers for linearizability: that what all callers saw could have come
// from one caller after another calling bucket.State.Apply, each within the time its call took. A call whose outcome is
// unknown may have happened or not.
package linear

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// limits refill so slowly that a history of seconds sees none of it: what a call finds depends on what others did and
// on nothing else, also where it isn't known when they did it.
var limits = func() *bucket.Limits {
	l, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 40, Per: bucket.MaxSpan},
		bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.MaxSpan})
	if err != nil {
		panic(err)
	}
	return l
}()

// instant is when everything happens in the model. What refills meanwhile in the store is less than a thousandth of a
// unit, and all costs are whole.
const instant = 1_000_000 * bucket.Hour

// outcome is what a caller saw of a request.
type outcome struct {
	unknown  bool
	failed   bool // for certain: nothing was done
	statuses []bucket.Status
}

// model is one key: its states are encoded states.
var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{string(new(bucket.State).Encode(nil))} },
	Step: func(state, input, output any) []any {
		out := output.(outcome)
		if out.failed {
			return []any{state}
		}
		var s bucket.State
		if err := s.Decode([]byte(state.(string))); err != nil {
			panic(err)
		}
		ops := input.([]bucket.Op)
		results := make([]bucket.Result, len(ops))
		s.Apply(instant, &bucket.Request{Limits: limits, Ops: ops}, results)
		next := string(s.Encode(nil))
		if out.unknown {
			return []any{state, next}
		}
		for i := range results {
			if results[i].Status != out.statuses[i] {
				return nil
			}
		}
		return []any{next}
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

// History has callers, each on an instance of its own, send random requests to one key, and returns what they saw.
func History(ctx context.Context, instances []driver.Driver, key string, requests int, seed uint64) []porcupine.Operation {
	var mu sync.Mutex
	var history []porcupine.Operation
	var wg sync.WaitGroup
	start := time.Now()
	for client, d := range instances {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(client)))
			for range requests {
				ops := randomOps(rng)
				call := time.Since(start)
				limited, cancel := context.WithTimeout(ctx, 5*time.Second)
				responses, err := d.Apply(limited, []driver.Request{{Key: key, Limits: limits, Ops: ops}})
				cancel()
				out := outcome{}
				switch {
				case err == nil:
					for _, r := range responses[0].Results {
						out.statuses = append(out.statuses, r.Status)
					}
				case errors.Is(err, driver.ErrUnknownOutcome):
					out.unknown = true
				default:
					out.failed = true
				}
				end := time.Since(start)
				if out.unknown {
					end = time.Hour // it may still happen
				}
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: client, Input: ops, Call: call.Nanoseconds(), Output: out, Return: end.Nanoseconds(),
				})
				mu.Unlock()
				if out.unknown {
					client += len(instances) // its call never ended: go on as another client
				}
			}
		})
	}
	wg.Wait()
	return history
}

// randomOps is one or two operations of those that change levels.
func randomOps(rng *rand.Rand) []bucket.Op {
	ops := make([]bucket.Op, 1+rng.IntN(2))
	for i := range ops {
		cost := []float64{float64(rng.IntN(3)), float64(rng.IntN(120))}
		switch rng.IntN(5) {
		case 0, 1, 2:
			ops[i] = bucket.Op{Kind: bucket.Acquire, Cost: cost}
		case 3:
			ops[i] = bucket.Op{Kind: bucket.Adjust, Cost: cost}
		case 4:
			ops[i] = bucket.Op{Kind: bucket.Record, Cost: cost}
		}
	}
	return ops
}

// Check says whether a history is linearizable.
func Check(history []porcupine.Operation, timeout time.Duration) porcupine.CheckResult {
	m := model.ToModel()
	return porcupine.CheckOperationsTimeout(m, history, timeout)
}
