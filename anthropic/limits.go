package anthropic

import (
	"cmp"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// The resources that a call uses.
const (
	// Requests is 1 for each call.
	Requests = llm.Requests
	// InputTokens are those that count: not what was read from a cache.
	InputTokens = "input_tokens"
	// OutputTokens are those that were written; max_tokens doesn't count.
	OutputTokens = "output_tokens"
)

// DefaultBurst is the part of a limit that may be used at once; see [Limits.Burst].
const DefaultBurst = 0.98

// NoLimit says that something is not limited, where 0 means that the limit isn't known.
const NoLimit = llm.NoLimit

// Limits are the limits of one model family, as Anthropic's console shows them.
type Limits struct {
	// RPM, ITPM and OTPM are requests, input tokens and output tokens a minute. 0 means that the limit isn't known: a
	// [Transport] learns it from the first answer's headers, and the fleet shares it. Until then one call goes ahead of all
	// others. [NoLimit] is no limit.
	RPM, ITPM, OTPM int
	// Burst is the part of a limit that may be used at once after an idle spell, more than 0 and at most 1; 0 means
	// [DefaultBurst]: a little less than all of it, because a request may travel faster than the one before it and so
	// reach the provider sooner than the limit allows. Anthropic says that a limit may be enforced over shorter times (60 a
	// minute as one a second); a smaller burst helps against refusals from that.
	Burst float64
}

// check returns a [*throttle.ArgumentError] for the first limit that can't be meant.
func (l Limits) check() error {
	return cmp.Or(llm.CheckLimit("RPM", l.RPM), llm.CheckLimit("ITPM", l.ITPM), llm.CheckLimit("OTPM", l.OTPM), llm.CheckBurst(l.Burst))
}

// Quotas are the limits as a limiter takes them.
func (l Limits) Quotas() []throttle.Quota {
	burst := l.Burst
	if burst == 0 {
		burst = DefaultBurst
	}
	var quotas []throttle.Quota
	for _, q := range []struct {
		resource string
		limit    int
	}{{Requests, l.RPM}, {InputTokens, l.ITPM}, {OutputTokens, l.OTPM}} {
		n := float64(q.limit)
		if q.limit == 0 {
			n = llm.Undiscovered
		}
		if n > 0 {
			quotas = append(quotas, throttle.Quota{Resource: q.resource, Limit: n, Per: time.Minute, Burst: min(n, max(1, n*burst))})
		}
	}
	return quotas
}

// NewLimiter returns a limiter whose models each have these limits, by [Family]. Different limits for different models:
// throttle.New with [Models].
func NewLimiter(d driver.Driver, limits Limits, options ...throttle.Option) *throttle.Limiter {
	return throttle.New(d, ModelsFunc(func(string) (Limits, bool) { return limits, true }), options...)
}

// AnyModel is the key of [Models]' table for every model that has no entry.
const AnyModel = llm.AnyModel

// Models resolves model names to their family and its limits: the entry of the family (entries may be given by any name
// that [Family] understands; those of one family must agree), else that of [AnyModel], else the error is throttle.ErrUnknownModel.
func Models(table map[string]Limits) throttle.Models { return llm.TableModels(table, Family, model) }

// ModelsFunc is [Models] with a function in place of the table. It is called for each call, by many goroutines at once.
func ModelsFunc(limits func(family string) (Limits, bool)) throttle.Models {
	return llm.FuncModels(limits, Family, model)
}

func model(family string, limits Limits) (throttle.Model, error) {
	quotas := limits.Quotas()
	return throttle.Model{Family: family, Quotas: quotas, Counter: DefaultCounter.Usage, Unlimited: len(quotas) == 0}, limits.check()
}
