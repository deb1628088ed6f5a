package anthropic

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Usage is what an answer reports of the tokens that a call used. The zero value is none.
type Usage struct {
	// Input tokens that were neither read from a cache nor written to one.
	Input int
	// CacheWrite and CacheRead are input tokens written to a cache and read from it.
	CacheWrite, CacheRead int
	// Output tokens.
	Output int
}

// Limited is how many input tokens count towards the limit: all but those read from a cache, which are free for all
// models but the oldest.
//
// Source: Anthropic's rate limits page, "Cache-aware ITPM".
func (u Usage) Limited() int { return u.Input + u.CacheWrite }

// answerFields are the fields of a message and of the events of its stream.
//
// Source: Anthropic's API reference, Messages and "Streaming Messages"; usage in message_delta is the whole so far.
var answerFields = map[string]llm.Role{
	"usage.input_tokens":                        llm.Input,
	"usage.cache_creation_input_tokens":         llm.CacheWrite,
	"usage.cache_read_input_tokens":             llm.CacheRead,
	"usage.output_tokens":                       llm.Output,
	"message.usage.input_tokens":                llm.Input,
	"message.usage.cache_creation_input_tokens": llm.CacheWrite,
	"message.usage.cache_read_input_tokens":     llm.CacheRead,
	"message.usage.output_tokens":               llm.Output,
	"content.[].text":                           llm.Text,
	"delta.text":                                llm.Text,
	"delta.thinking":                            llm.Text,
	"delta.partial_json":                        llm.Text,
	"delta.stop_reason":                         llm.Final,
	"error.type":                                llm.ErrorType,
	"error.message":                             llm.ErrorText,
}

// UsageReader reads the usage from an answer while it passes, such as behind an [io.TeeReader]. Its memory doesn't depend
// on the answer. It is not safe for concurrent use.
type UsageReader struct{ meter *llm.Meter }

var _ io.Writer = (*UsageReader)(nil)

// NewUsageReader returns a UsageReader for one answer; stream says that it comes as server-sent events.
func NewUsageReader(stream bool) *UsageReader {
	return &UsageReader{llm.NewMeter(llm.MeterOptions{Fields: answerFields, Stream: stream})}
}

// Write reads the next piece. It never fails: what can't be understood has no usage.
func (r *UsageReader) Write(p []byte) (int, error) { return r.meter.Write(p) }

// Usage returns the usage reported last, and whether there was one: a stream reports input at its start and what was
// written so far in each message_delta.
func (r *UsageReader) Usage() (Usage, bool) {
	u, ok := r.meter.Usage()
	return usageOf(u), ok
}

// ReadUsage returns the usage that a complete message reports, and whether it does.
func ReadUsage(answer []byte) (Usage, bool) {
	r := NewUsageReader(false)
	_, _ = r.Write(answer)
	return r.Usage()
}

func usageOf(u llm.Usage) Usage {
	return Usage{Input: u.Input, CacheWrite: u.CacheWrite, CacheRead: u.CacheRead, Output: u.Output}
}

// RateLimit is what an answer's headers say about one limit.
type RateLimit struct {
	// Limit is how much a minute allows; 0 if the headers don't say.
	Limit float64
	// Remaining is how much of it is left, for tokens rounded to thousands; it is only known if HasRemaining is set.
	Remaining    float64
	HasRemaining bool
	// Reset is when all of it is left again; zero if unknown.
	Reset time.Time
}

// RateLimits is what an answer's headers say about the limits of the model that answered.
type RateLimits struct {
	Requests, InputTokens, OutputTokens RateLimit
}

// ReadRateLimits reads the anthropic-ratelimit-* headers. What is missing, negative or not a number is unknown, and so is
// a remainder without a limit above 0.
//
// Source: Anthropic's rate limits page, "Response headers".
func ReadRateLimits(h http.Header) RateLimits {
	return RateLimits{
		Requests:     readRateLimit(h, "requests"),
		InputTokens:  readRateLimit(h, "input-tokens"),
		OutputTokens: readRateLimit(h, "output-tokens"),
	}
}

func readRateLimit(h http.Header, resource string) RateLimit {
	prefix := "anthropic-ratelimit-" + resource
	stated := llm.ReadLimit(h, prefix+"-limit", prefix+"-remaining")
	l := RateLimit{Limit: stated.Limit, Remaining: stated.Remaining, HasRemaining: stated.HasRemaining}
	if at, err := time.Parse(time.RFC3339, strings.TrimSpace(h.Get(prefix+"-reset"))); err == nil {
		l.Reset = at
	}
	return l
}
