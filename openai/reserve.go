package openai

import (
	"context"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// DefaultCounter counts for limiters made by [NewLimiter] and [Models], and for transports without a counter of their
// own. It shares what it learns among them.
var DefaultCounter = &Counter{}

// What is reserved where a request doesn't tell: a high quantile of what earlier calls of the family used, which starts as
// below and follows the last few hundred calls.
var (
	outputLearning = llm.QuantileOptions{Quantile: 0.95, Start: 1024, StartWeight: 5, HalfLife: 500}
	hiddenLearning = llm.QuantileOptions{Quantile: 0.95, Start: 1024, StartWeight: 5, HalfLife: 500}
)

// learned is what a Counter knows from earlier calls, by family.
type learned struct {
	output *llm.Quantiles // tokens of one choice, where the request doesn't limit them
	hidden *llm.Quantiles // input beyond what was counted, where the request refers to what lies at the provider
}

func (c *Counter) learned() *learned {
	c.once.Do(func() {
		c.memory = learned{llm.NewQuantiles(outputLearning), llm.NewQuantiles(hiddenLearning)}
	})
	return &c.memory
}

// Reserve returns the tokens to reserve for a request: its input, and the most that it may generate. Where it sets no
// maximum, that is a high quantile of what calls of its family generated so far (1,024 tokens to begin with), for each
// choice; and where it refers to input that lies at the provider, a quantile of that likewise.
func (c *Counter) Reserve(e Estimate) int {
	n := max(0, e.Input) + max(0, e.Output) + max(0, e.Prediction)
	if !e.OutputSet {
		n += max(1, e.Choices) * int(c.learned().output.Estimate(Family(e.Model)))
	}
	if e.Hidden {
		n += int(c.learned().hidden.Estimate(Family(e.Model)))
	}
	return n
}

// Learn takes in what a call that was estimated at e really used. A [Transport] does it by itself.
func (c *Counter) Learn(e Estimate, u Usage) {
	family := Family(e.Model)
	if e.Endpoint != Embeddings && e.Endpoint != Moderations {
		c.learned().output.Observe(family, float64(u.Output)/float64(max(1, e.Choices)))
	}
	if e.Hidden {
		c.learned().hidden.Observe(family, float64(max(0, u.Input-e.Input)))
	}
}

// Usage counts a request as [Counter.CountValue] does and returns what to reserve for it. It is a throttle.Counter, for
// Limiter.AcquireFor.
func (c *Counter) Usage(_ context.Context, model string, request any) (throttle.Usage, error) {
	e, err := c.CountValue(request, Guess)
	if err != nil {
		return nil, err
	}
	if e.Model == "" {
		e.Model = model
	}
	return throttle.Usage{Requests: 1, Tokens: float64(c.Reserve(e))}, nil
}
