package openai

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
	// Tokens are input and output together, as OpenAI counts them.
	Tokens = "tokens"
)

// DefaultBurst is the part of a limit that may be used at once; see [Limits.Burst].
const DefaultBurst = 0.98

// NoLimit says that something is not limited, where 0 means that the limit isn't known.
const NoLimit = llm.NoLimit

// Limits are the limits of one model family, as OpenAI's limits page shows them.
type Limits struct {
	// RPM and TPM are requests and tokens a minute. 0 means that the limit isn't known: a [Transport] learns it from the
	// first answer's headers, and the fleet shares it. Until then one call goes ahead of all others; servers that state no
	// limits have none. [NoLimit] is no limit.
	RPM, TPM int
	// RPD and TPD are requests and tokens a day; 0 is no limit. The buckets refill all day long, which OpenAI's do too;
	// see docs/adding-a-provider.md for days that end at midnight.
	RPD, TPD int
	// Burst is the part of a limit that may be used at once after an idle spell, more than 0 and at most 1; 0 means
	// [DefaultBurst]. It is a little less than all of it because a request may travel faster than the one before it and so
	// reach the provider sooner than the limit allows: 0.98 leaves room for 1.2 seconds of such jitter.
	Burst float64
	// RequestWindow is the time over which requests are really counted, where it is shorter than the limit's minute: Azure
	// OpenAI counts them over 1 or 10 seconds, so that a tenth or a sixtieth of RPM is all that may come at once. 0 means
	// the whole minute.
	RequestWindow time.Duration
}

// check returns a [*throttle.ArgumentError] for the first limit that can't be meant.
func (l Limits) check() error {
	return cmp.Or(llm.CheckLimit("RPM", l.RPM), llm.CheckLimit("TPM", l.TPM), llm.CheckLimit("RPD", l.RPD),
		llm.CheckLimit("TPD", l.TPD), llm.CheckBurst(l.Burst), l.checkWindow())
}

func (l Limits) checkWindow() error {
	if l.RequestWindow < 0 || l.RequestWindow > time.Minute {
		return &throttle.ArgumentError{Argument: "Limits.RequestWindow", Value: l.RequestWindow, Want: "up to a minute, or 0 for a minute"}
	}
	return nil
}

// Quotas are the limits as a limiter takes them: requests and tokens a minute first, then a day's.
func (l Limits) Quotas() []throttle.Quota {
	burst := l.Burst
	if burst == 0 {
		burst = DefaultBurst
	}
	var quotas []throttle.Quota
	add := func(resource string, limit int, per time.Duration, part float64) {
		if limit > 0 {
			n := float64(limit)
			quotas = append(quotas, throttle.Quota{Resource: resource, Limit: n, Per: per, Burst: min(n, max(1, n*part))})
		} else if limit == 0 && per == time.Minute {
			quotas = append(quotas, throttle.Quota{Resource: resource, Limit: llm.Undiscovered, Per: per, Burst: llm.Undiscovered * part})
		}
	}
	requests := burst
	if l.RequestWindow > 0 && l.RequestWindow < time.Minute {
		requests *= float64(l.RequestWindow) / float64(time.Minute)
	}
	add(Requests, l.RPM, time.Minute, requests)
	add(Tokens, l.TPM, time.Minute, burst)
	add(Requests, l.RPD, 24*time.Hour, burst)
	add(Tokens, l.TPD, 24*time.Hour, burst)
	return quotas
}

// NewLimiter returns a limiter whose models each have these limits, by [Family]. Calls are counted with [DefaultCounter].
// Different limits for different models: throttle.New with [Models].
func NewLimiter(d driver.Driver, limits Limits, options ...throttle.Option) *throttle.Limiter {
	return throttle.New(d, ModelsFunc(func(string) (Limits, bool) { return limits, true }), options...)
}

// AnyModel is the key of [Models]' table for every model that has no entry.
const AnyModel = llm.AnyModel

// Models resolves model names to their family and its limits: the entry of the family (entries may be given by any name
// that [Family] understands; those of one family must agree), else that of [AnyModel], else the error is throttle.ErrUnknownModel. Calls are counted with
// [DefaultCounter].
func Models(table map[string]Limits) throttle.Models { return llm.TableModels(table, Family, model) }

// ModelsFunc is [Models] with a function in place of the table. It is called for each call, by many goroutines at once.
func ModelsFunc(limits func(family string) (Limits, bool)) throttle.Models {
	return llm.FuncModels(limits, Family, model)
}

func model(family string, limits Limits) (throttle.Model, error) {
	quotas := limits.Quotas()
	return throttle.Model{Family: family, Quotas: quotas, Counter: DefaultCounter.Usage, Unlimited: len(quotas) == 0}, limits.check()
}
