package anthropic

import (
	"context"
	"math"
	"sync"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// Counter turns estimates into what to reserve, and learns from what calls really used. The zero value has learned
// nothing. It is safe for concurrent use and must not be copied after its first use.
type Counter struct {
	once   sync.Once
	output *llm.Quantiles // tokens
	ratio  *llm.Quantiles // what input was charged to what was estimated, in thousandths
}

// DefaultCounter counts for limiters made by [NewLimiter] and [Models], and for transports without a counter of their
// own. It shares what it learns among them.
var DefaultCounter = &Counter{}

func (c *Counter) init() {
	c.output = llm.NewQuantiles(llm.QuantileOptions{Quantile: 0.95, Start: 1024, StartWeight: 5, HalfLife: 500})
	c.ratio = llm.NewQuantiles(llm.QuantileOptions{Quantile: 0.9, Start: 1000, StartWeight: 5, HalfLife: 200})
}

// Reserve returns what to reserve for a request: one request; its input, by the ratio of charged to estimated tokens that
// most calls of its family stayed below (caches and the model's own vocabulary show in it); as output a high quantile of
// what calls of its family wrote so far (1,024 to begin with), but no more than max_tokens, which itself counts towards
// no limit.
func (c *Counter) Reserve(e Estimate) throttle.Usage {
	c.once.Do(c.init)
	family := Family(e.Model)
	input, output := float64(max(0, e.Input)), c.output.Estimate(family)
	if !e.Exact {
		input = math.Ceil(input * c.ratio.Estimate(family) / 1000)
	}
	if e.MaxTokens > 0 {
		output = min(output, float64(e.MaxTokens))
	}
	return throttle.Usage{Requests: 1, InputTokens: input, OutputTokens: output}
}

// Learn takes in what a call that was estimated at e really used. A [Transport] does it by itself.
func (c *Counter) Learn(e Estimate, u Usage) {
	c.once.Do(c.init)
	family := Family(e.Model)
	c.output.Observe(family, float64(u.Output))
	if !e.Exact && e.Input > 0 {
		c.ratio.Observe(family, float64(u.Limited())*1000/float64(e.Input))
	}
}

// Usage counts a request as [CountValue] does and returns what to reserve for it. It is a throttle.Counter, for
// Limiter.AcquireFor.
func (c *Counter) Usage(_ context.Context, model string, request any) (throttle.Usage, error) {
	e, err := CountValue(request)
	if err != nil {
		return nil, err
	}
	if e.Model == "" {
		e.Model = model
	}
	return c.Reserve(e), nil
}
