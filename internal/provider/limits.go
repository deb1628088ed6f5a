package provider

import (
	"fmt"
	"time"
)

// minutesPerDay converts [Config.Minute] to the length of the simulated day.
const minutesPerDay = 24 * 60

// Limits are what one model allows. A zero field is no limit. OpenAI's endpoints look at requests and tokens,
// Anthropic's at requests, input tokens and output tokens.
type Limits struct {
	RequestsPerMinute     int64 `json:"requests_per_minute,omitempty"`
	TokensPerMinute       int64 `json:"tokens_per_minute,omitempty"`
	RequestsPerDay        int64 `json:"requests_per_day,omitempty"`
	TokensPerDay          int64 `json:"tokens_per_day,omitempty"`
	InputTokensPerMinute  int64 `json:"input_tokens_per_minute,omitempty"`
	OutputTokensPerMinute int64 `json:"output_tokens_per_minute,omitempty"`

	// RequestBurst is how many requests may come at once; zero is the whole RequestsPerMinute. Providers that count
	// requests over a second or ten (Azure does) have a burst smaller than the limit.
	RequestBurst int64 `json:"request_burst,omitempty"`
}

// check reports the first field that makes no sense.
func (l Limits) check() error {
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"RequestsPerMinute", l.RequestsPerMinute},
		{"TokensPerMinute", l.TokensPerMinute},
		{"RequestsPerDay", l.RequestsPerDay},
		{"TokensPerDay", l.TokensPerDay},
		{"InputTokensPerMinute", l.InputTokensPerMinute},
		{"OutputTokensPerMinute", l.OutputTokensPerMinute},
		{"RequestBurst", l.RequestBurst},
	} {
		if f.value < 0 {
			return fmt.Errorf("provider: Limits.%s is %d: use 0 for no limit or a positive number", f.name, f.value)
		}
	}
	return nil
}

// Work is an amount of everything that is limited. Tokens is what OpenAI's limits count; InputTokens and OutputTokens
// are what Anthropic's do.
type Work struct {
	Requests     int64 `json:"requests"`
	Tokens       int64 `json:"tokens,omitempty"`
	InputTokens  int64 `json:"input_tokens,omitempty"`
	OutputTokens int64 `json:"output_tokens,omitempty"`
}

func (w Work) plus(v Work) Work {
	return Work{w.Requests + v.Requests, w.Tokens + v.Tokens, w.InputTokens + v.InputTokens, w.OutputTokens + v.OutputTokens}
}

func (w Work) minus(v Work) Work {
	return Work{w.Requests - v.Requests, w.Tokens - v.Tokens, w.InputTokens - v.InputTokens, w.OutputTokens - v.OutputTokens}
}

// quota names one limit: a resource over a window.
type quota int

const (
	requestsMinute quota = iota
	tokensMinute
	requestsDay
	tokensDay
	inputMinute
	outputMinute
	numQuotas
)

// resource is what q limits, as statistics name it.
func (q quota) resource() string {
	switch q {
	case requestsMinute, requestsDay:
		return "requests"
	case inputMinute:
		return "input_tokens"
	case outputMinute:
		return "output_tokens"
	default:
		return "tokens"
	}
}

func (q quota) perDay() bool { return q == requestsDay || q == tokensDay }

func (q quota) String() string {
	if q.perDay() {
		return q.resource() + "/day"
	}
	return q.resource() + "/minute"
}

// of is the part of w that q limits.
func (q quota) of(w Work) float64 {
	switch q {
	case requestsMinute, requestsDay:
		return float64(w.Requests)
	case inputMinute:
		return float64(w.InputTokens)
	case outputMinute:
		return float64(w.OutputTokens)
	default:
		return float64(w.Tokens)
	}
}

// limit is what l allows of q in one window, zero when it is not limited.
func (q quota) limit(l Limits) float64 {
	switch q {
	case requestsMinute:
		return float64(l.RequestsPerMinute)
	case tokensMinute:
		return float64(l.TokensPerMinute)
	case requestsDay:
		return float64(l.RequestsPerDay)
	case tokensDay:
		return float64(l.TokensPerDay)
	case inputMinute:
		return float64(l.InputTokensPerMinute)
	default:
		return float64(l.OutputTokensPerMinute)
	}
}

// burst is how much of q may be used at once.
func (q quota) burst(l Limits) float64 {
	if q == requestsMinute && l.RequestBurst > 0 {
		return float64(l.RequestBurst)
	}
	return q.limit(l)
}

// window is the time in which the whole limit drains.
func (q quota) window(minute time.Duration) time.Duration {
	if q.perDay() {
		return minutesPerDay * minute
	}
	return minute
}
