package openai

import (
	"io"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Usage is what an answer reports of the tokens that a call used. The zero value is none.
type Usage struct {
	// Input tokens, those read from the prompt cache included: they count towards the limits like any other.
	Input int
	// Cached is how many of Input came from the cache.
	Cached int
	// Output tokens of all choices, those not shown included.
	Output int
	// Reasoning is how many of Output were reasoning that the answer doesn't show.
	Reasoning int
}

// Total is what the call counted towards a limit on tokens.
func (u Usage) Total() int { return u.Input + u.Output }

// answerFields are the fields of the answers of all endpoints, and of their streams' events. The names don't clash.
//
// Source: OpenAI's API reference (openai/openai-openapi); reasoning_content is that of DeepSeek, vLLM and others.
var answerFields = map[string]llm.Role{
	// chat/completions, completions, embeddings
	"usage.prompt_tokens":                                 llm.Input,
	"usage.prompt_tokens_details.cached_tokens":           llm.CacheRead,
	"usage.completion_tokens":                             llm.Output,
	"usage.completion_tokens_details.reasoning_tokens":    llm.Reasoning,
	"usage.total_tokens":                                  llm.Total,
	"choices.[].text":                                     llm.Text,
	"choices.[].message.content":                          llm.Text,
	"choices.[].message.refusal":                          llm.Text,
	"choices.[].message.reasoning_content":                llm.Text,
	"choices.[].message.tool_calls.[].function.name":      llm.Text,
	"choices.[].message.tool_calls.[].function.arguments": llm.Text,
	"choices.[].delta.content":                            llm.Text,
	"choices.[].delta.refusal":                            llm.Text,
	"choices.[].delta.reasoning_content":                  llm.Text,
	"choices.[].delta.function_call.name":                 llm.Text,
	"choices.[].delta.function_call.arguments":            llm.Text,
	"choices.[].delta.tool_calls.[].function.name":        llm.Text,
	"choices.[].delta.tool_calls.[].function.arguments":   llm.Text,
	"choices.[].finish_reason":                            llm.Final,

	// responses: the answer itself, and the event that ends a stream
	"usage.input_tokens":                                    llm.Input,
	"usage.input_tokens_details.cached_tokens":              llm.CacheRead,
	"usage.output_tokens":                                   llm.Output,
	"usage.output_tokens_details.reasoning_tokens":          llm.Reasoning,
	"response.usage":                                        llm.Final, // only the last events of a stream have it
	"response.usage.input_tokens":                           llm.Input,
	"response.usage.input_tokens_details.cached_tokens":     llm.CacheRead,
	"response.usage.output_tokens":                          llm.Output,
	"response.usage.output_tokens_details.reasoning_tokens": llm.Reasoning,
	"response.usage.total_tokens":                           llm.Total,
	"output.[].content.[].text":                             llm.Text,
	"output.[].arguments":                                   llm.Text,
	"delta":                                                 llm.Text, // response.output_text.delta and its like

	// errors: an answer, an event of a chat stream, the two events of a responses stream
	"error.type":             llm.ErrorType,
	"error.code":             llm.ErrorCode,
	"error.message":          llm.ErrorText,
	"response.error.code":    llm.ErrorCode,
	"response.error.message": llm.ErrorText,
	"code":                   llm.ErrorCode,
	"message":                llm.ErrorText,
}

// UsageReader reads the usage from an answer while it passes, such as behind an [io.TeeReader]. Its memory doesn't depend
// on the answer. It is not safe for concurrent use.
type UsageReader struct{ meter *llm.Meter }

var _ io.Writer = (*UsageReader)(nil)

// NewUsageReader returns a UsageReader for one answer; stream says that it comes as server-sent events (its Content-Type
// is text/event-stream).
func NewUsageReader(stream bool) *UsageReader {
	return &UsageReader{llm.NewMeter(llm.MeterOptions{Fields: answerFields, Stream: stream})}
}

// Write reads the next piece. It never fails: what can't be understood has no usage.
func (r *UsageReader) Write(p []byte) (int, error) { return r.meter.Write(p) }

// Usage returns the usage reported last, and whether there was one. A stream reports it in its last events, and for chat
// only if the request asks with stream_options.include_usage; servers that report what was used so far in every event
// are understood too.
func (r *UsageReader) Usage() (Usage, bool) {
	u, ok := r.meter.Usage()
	return usageOf(u), ok
}

// ReadUsage returns the usage that a complete answer reports, and whether it does. It understands the answers of chat,
// responses, embeddings and completions.
func ReadUsage(answer []byte) (Usage, bool) {
	r := NewUsageReader(false)
	_, _ = r.Write(answer)
	return r.Usage()
}

func usageOf(u llm.Usage) Usage {
	return Usage{Input: u.Input, Cached: u.CacheRead, Output: u.Output, Reasoning: u.Reasoning}
}
