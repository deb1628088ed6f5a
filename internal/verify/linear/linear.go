// Package linear checks concurrent histories of drivers for linearizability: that what all callers saw could have come
// from one caller after another calling bucket.State.Apply, each within the time its call took. A call whose outcome is
// unknown may have happened or not, and one that was repeated may have taken two instants.
package linear

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

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
					ClientId: client, Input: request{id: len(history), ops: ops}, Call: call.Nanoseconds(), Output: out, Return: end.Nanoseconds(),
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

// Check says whether a history is linearizable, each request one instant.
func Check(history []porcupine.Operation, timeout time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, timeout)
}

// CheckRepeated is Check for drivers whose answers can be lost: of a request that was repeated, what was refused at first
// may have been granted in a second instant.
func CheckRepeated(history []porcupine.Operation, timeout time.Duration) porcupine.CheckResult {
	if Check(history, timeout) == porcupine.Ok { // as nearly all are; with fewer steps it is found sooner
		return porcupine.Ok
	}
	return Check(repeated(history), timeout)
}
