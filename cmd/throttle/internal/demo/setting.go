package demo

import (
	"math"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	"github.com/tokenthrottle/throttle/internal/provider"
)

const (
	// MaxTokens is what every request allows its answer, and the answers use between minAnswer and maxAnswer of it:
	// people set max_tokens far above what they need, and a limiter that keeps what it reserved pays for that.
	MaxTokens = 4096
	minAnswer = 0.05
	maxAnswer = 0.40

	// DefaultIdeal is how long the fastest way is to take, and DefaultFleetIdeal that for several processes, which take
	// turns at a store. keeping is how many times as long it takes who never gets a reservation back. The limits follow.
	DefaultIdeal      = 9 * time.Second
	DefaultFleetIdeal = 12 * time.Second
	keeping           = 3.1

	// jitter is the time by which the provider may lag: the limiter's bucket refills from the moment of its first debit,
	// the provider's from when it has seen the first request. What refills in that time the limiter leaves alone.
	jitter = 85 * time.Millisecond
)

// Setting is what the simulated provider allows and how it behaves.
type Setting struct {
	// Limits are a minute's, and Minute is how long that is here.
	Limits provider.Limits
	Minute time.Duration
}

// newSetting chooses limits under which the workload takes about the ideal at best. With U tokens used, R reserved
// and a limit of L a minute, which is also the burst, it takes (U − L)/L minutes at best and (R − L)/L without refunds.
func newSetting(t workload.Totals, ideal time.Duration) Setting {
	reserved := float64(t.Reserve)
	used := float64(t.Input) + float64(t.Requests)*MaxTokens*(minAnswer+maxAnswer)/2
	// (R − L) = keeping · (U − L), within bounds that keep the burst a burst, and no request too large for it.
	limit := (keeping*used - reserved) / (keeping - 1)
	limit = max(used/4, min(limit, used/1.5), 1.5*float64(t.Largest))
	limit = roundTo(limit, 2)
	minute := time.Duration(float64(ideal) * limit / max(used-limit, limit/4)).Round(100 * time.Millisecond)
	return Setting{
		Limits: provider.Limits{
			TokensPerMinute:   int64(limit),
			RequestsPerMinute: int64(roundTo(5.0*float64(t.Requests), 1)),
		},
		Minute: minute,
	}
}

// roundTo rounds to some significant digits.
func roundTo(x float64, digits int) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x))-float64(digits-1))
	return math.Round(x/unit) * unit
}

// quotas are the limits as a client of the provider gives them to its limiter.
func (s Setting) quotas() []throttle.Quota {
	var list []throttle.Quota
	part := 1 - min(0.2, jitter.Seconds()/s.Minute.Seconds())
	for _, q := range []throttle.Quota{
		{Resource: "requests", Limit: float64(s.Limits.RequestsPerMinute)},
		{Resource: "tokens", Limit: float64(s.Limits.TokensPerMinute)},
	} {
		q.Per = s.Minute
		list = append(list, q.WithBurst(part*q.Limit))
	}
	return list
}

// provider is the simulated provider's configuration. Its answers are as much faster than real ones as its minute is
// shorter.
func (s Setting) provider(count func(model, text string) int) provider.Config {
	return provider.Config{
		Models: map[string]provider.Limits{workload.Model: s.Limits},
		Minute: s.Minute,
		Latency: provider.Latency{
			Base:     s.scaled(300 * time.Millisecond),
			PerToken: s.scaled(300 * time.Microsecond),
			Jitter:   0.5,
		},
		// Whole answers at once: a timer for each few tokens would be slower than the tokens.
		Output: provider.Output{Min: minAnswer, Max: maxAnswer, Chunk: MaxTokens},
		Count:  count,
		Seed:   1,
		// OpenAI: "unsuccessful requests contribute to your per-minute limit".
		ChargeRefused: true,
	}
}

// scaled is a real duration in the provider's short minute.
func (s Setting) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * float64(s.Minute) / float64(time.Minute))
}
