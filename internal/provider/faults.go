package provider

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// SimulateHeader is the request header that orders a [Fault] for one request; its value is the fault's name.
const SimulateHeader = "X-Simulate"

// Fault is a failure that has nothing to do with the limits.
type Fault string

// The faults. Those named by a number and FaultQuota answer with an error and charge nothing; the others are accepted
// requests that go wrong.
const (
	// FaultNone makes a request spared by the random faults.
	FaultNone Fault = "none"
	// FaultRateLimit is a 429 that passes after [Faults.RetryAfter].
	FaultRateLimit Fault = "429"
	// FaultQuota is OpenAI's 429 insufficient_quota: no retry ever helps.
	FaultQuota Fault = "quota"
	// FaultInternal is a 500.
	FaultInternal Fault = "500"
	// FaultUnavailable is a 503.
	FaultUnavailable Fault = "503"
	// FaultOverloaded is a 529, Anthropic's overloaded_error: the provider's trouble, not the caller's quota.
	FaultOverloaded Fault = "529"
	// FaultSlow delays the answer by [Faults.SlowBy].
	FaultSlow Fault = "slow"
	// FaultCut closes the connection in the middle of the answer.
	FaultCut Fault = "cut"
	// FaultMalformed answers 200 with a body that is not JSON.
	FaultMalformed Fault = "malformed"
)

// known lists the faults in the order in which [Faults.Probability] is drawn.
var known = []Fault{
	FaultRateLimit, FaultQuota, FaultInternal, FaultUnavailable, FaultOverloaded, FaultSlow, FaultCut, FaultMalformed,
}

// Faults are failures drawn at random. The draw follows from [Config.Seed], the request and how often the same
// request came before: a workload meets the same faults in whatever order it is sent, and a retry has a chance.
type Faults struct {
	// Probability of each fault, 0 to 1, together no more than 1.
	Probability map[Fault]float64
	// RetryAfter is what [FaultRateLimit] asks the caller to wait; zero is one second.
	RetryAfter time.Duration
	// SlowBy is how much longer [FaultSlow] makes an answer take; zero is two seconds.
	SlowBy time.Duration
}

func (f Faults) check() error {
	var total float64
	for fault, p := range f.Probability {
		if !isFault(fault) {
			return fmt.Errorf("provider: Faults.Probability has unknown fault %q", fault)
		}
		if !(p >= 0) {
			return fmt.Errorf("provider: probability of fault %q is %v: use 0 to 1", fault, p)
		}
		total += p
	}
	if total > 1 {
		return fmt.Errorf("provider: fault probabilities add up to %v: use no more than 1", total)
	}
	return nil
}

func (f Faults) withDefaults() Faults {
	setDefault(&f.RetryAfter, time.Second)
	setDefault(&f.SlowBy, 2*time.Second)
	return f
}

func isFault(f Fault) bool {
	return slices.Contains(known, f)
}

// draw picks a fault, or FaultNone.
func (f Faults) draw(rng *rand.Rand) Fault {
	if len(f.Probability) == 0 {
		return FaultNone
	}
	x := rng.Float64()
	for _, k := range known {
		if x < f.Probability[k] {
			return k
		}
		x -= f.Probability[k]
	}
	return FaultNone
}
