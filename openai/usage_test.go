package openai

import (
	"net/http"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Answers as the official SDK's tests and OpenAI's API reference have them, shortened.
func TestReadUsage(t *testing.T) {
	for name, v := range map[string]struct {
		answer string
		want   Usage
		ok     bool
	}{
		"chat": {`{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],
			"usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":6}}}`,
			Usage{Input: 19, Cached: 4, Output: 10, Reasoning: 6}, true},
		"responses": {`{"id":"resp_1","object":"response","output":[{"type":"message","content":[{"type":"output_text","text":"Hi"}]}],
			"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":8},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":123}}`,
			Usage{Input: 36, Cached: 8, Output: 87, Reasoning: 5}, true},
		"embeddings":  {`{"object":"list","data":[{"embedding":[0.1,-0.2]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}`, Usage{Input: 8}, true},
		"completions": {`{"object":"text_completion","choices":[{"text":"x"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`, Usage{Input: 5, Output: 7}, true},
		"total only":  {`{"usage":{"total_tokens":12}}`, Usage{Input: 12}, true},
		"none":        {`{"choices":[]}`, Usage{}, false},
		"no JSON":     {`upstream error`, Usage{}, false},
		"empty":       {``, Usage{}, false},
		"cut":         {`{"usage":{"prompt_tokens":19,"completion_to`, Usage{Input: 19}, true},
	} {
		if got, ok := ReadUsage([]byte(v.answer)); got != v.want || ok != v.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, v.want, v.ok)
		}
	}
	if total := (Usage{Input: 3, Cached: 2, Output: 4, Reasoning: 1}).Total(); total != 7 {
		t.Errorf("Total = %d", total)
	}
}

func TestReadUsageFromStreams(t *testing.T) {
	for name, v := range map[string]struct {
		stream string
		want   Usage
		ok     bool
	}{
		"chat with usage": {`data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}

data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}

data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}

data: [DONE]

`, Usage{Input: 9, Output: 1}, true},
		"chat without": {"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n", Usage{}, false},
		"cumulative": {`data: {"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}

data: {"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}

data: [DONE]

`, Usage{Input: 9, Output: 2}, true},
		"responses": {`event: response.created
data: {"type":"response.created","response":{"id":"resp_1","status":"in_progress","usage":null}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","delta":"Hi"}

event: response.completed
data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","usage":{"input_tokens":37,"output_tokens":11,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":48}}}

`, Usage{Input: 37, Output: 11}, true},
	} {
		r := NewUsageReader(true)
		for _, b := range []byte(v.stream) {
			_, _ = r.Write([]byte{b})
		}
		if got, ok := r.Usage(); got != v.want || ok != v.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, v.want, v.ok)
		}
	}
}

func TestReadRateLimits(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	// The sample values of OpenAI's rate limits guide.
	got := ReadRateLimits(header("x-ratelimit-limit-requests", "60", "x-ratelimit-limit-tokens", "150000",
		"x-ratelimit-remaining-requests", "59", "x-ratelimit-remaining-tokens", "149984",
		"x-ratelimit-reset-requests", "1s", "x-ratelimit-reset-tokens", "6m0s"))
	want := RateLimits{
		Requests: RateLimit{Limit: 60, Remaining: 59, HasRemaining: true, Reset: time.Second},
		Tokens:   RateLimit{Limit: 150000, Remaining: 149984, HasRemaining: true, Reset: 6 * time.Minute},
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for name, v := range map[string]struct {
		header http.Header
		want   RateLimit
	}{
		"none":              {header(), RateLimit{}},
		"minus one":         {header("x-ratelimit-limit-tokens", "-1", "x-ratelimit-remaining-tokens", "-1"), RateLimit{}},
		"zero":              {header("x-ratelimit-limit-tokens", "0", "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "0"), RateLimit{}},
		"used up":           {header("x-ratelimit-limit-tokens", "100", "x-ratelimit-remaining-tokens", "0"), RateLimit{Limit: 100, HasRemaining: true}},
		"Azure, no limit":   {header("x-ratelimit-remaining-tokens", "249"), RateLimit{Remaining: 249, HasRemaining: true}},
		"Azure, limit used": {header("x-ratelimit-remaining-tokens", "0"), RateLimit{}},
		"garbage":           {header("x-ratelimit-limit-tokens", "lots", "x-ratelimit-remaining-tokens", "NaN", "x-ratelimit-reset-tokens", "later"), RateLimit{}},
	} {
		if got := ReadRateLimits(v.header).Tokens; got != v.want {
			t.Errorf("%s: %+v, want %+v", name, got, v.want)
		}
	}
	if got := ReadRateLimits(header("x-ratelimit-limit-project-tokens", "5")).ProjectTokens.Limit; got != 5 {
		t.Errorf("a project's limit reads as %v", got)
	}
}

func TestJudge(t *testing.T) {
	const reached = "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 28432, Requested 3120. Please try again in 3.1s."
	for _, v := range []struct {
		status                   int
		code, kind, text, should string
		want                     llm.Verdict
	}{
		{200, "", "", "", "", llm.Deliver},
		{400, "context_length_exceeded", "invalid_request_error", "", "", llm.Deliver},
		{401, "invalid_api_key", "", "", "", llm.Deliver},
		{404, "model_not_found", "", "", "", llm.Deliver},
		{408, "", "", "", "", llm.Transient},
		{409, "", "", "", "", llm.Transient},
		{413, "", "", "", "", llm.Deliver},
		{429, "rate_limit_exceeded", "tokens", reached, "", llm.Limited},
		{429, "rate_limit_exceeded", "requests", "", "", llm.Limited},
		{429, "", "", "", "", llm.Limited},
		{429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota", "", llm.Deliver},
		{429, "", "insufficient_quota", "", "true", llm.Deliver},
		{429, "billing_hard_limit_reached", "", "", "", llm.Deliver},
		// Both reported in public issues: Aider-AI/aider#1880 can never pass, UKGovernmentBEIS/inspect_ai#1396 can.
		{429, "rate_limit_exceeded", "tokens", "Request too large for gpt-4o in organization org-2 on tokens per min (TPM): Limit 30000, Requested 36278. The input or output tokens must be reduced", "", llm.Deliver},
		{429, "rate_limit_exceeded", "tokens", "Request too large for organization org-X on tokens per min (TPM): Limit 250000, Requested 546. The input", "", llm.Limited},
		{429, "", "", "Request too large.", "", llm.Deliver},
		{500, "", "server_error", "", "", llm.Transient},
		{501, "", "", "", "", llm.Deliver},
		{503, "", "", "", "", llm.Transient},
		{529, "", "", "", "", llm.Transient},
		{500, "", "", "", "false", llm.Deliver},
		{429, "", "", "", "false", llm.Deliver},
		{400, "", "", "", "true", llm.Transient},
		{200, "", "", "", "true", llm.Deliver},
	} {
		h := http.Header{}
		if v.should != "" {
			h.Set("x-should-retry", v.should)
		}
		got := judge(v.status, h, llm.Reading{ErrorCode: v.code, ErrorType: v.kind, ErrorText: v.text})
		if got != v.want {
			t.Errorf("%+v: %v", v, got)
		}
	}
}
