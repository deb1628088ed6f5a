package anthropic

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/internal/llm"
)

func TestFamily(t *testing.T) {
	for model, want := range map[string]string{
		"claude-opus-4-1-20250805":                     "claude-opus-4",
		"claude-opus-4-5":                              "claude-opus-4",
		"claude-opus-4-20250514":                       "claude-opus-4",
		"claude-sonnet-4-5-20250929":                   "claude-sonnet-4",
		"claude-sonnet-4-0":                            "claude-sonnet-4",
		"claude-haiku-4-5":                             "claude-haiku-4",
		"claude-sonnet-5":                              "claude-sonnet-5",
		"claude-3-7-sonnet-20250219":                   "claude-3-7-sonnet",
		"claude-3-7-sonnet-latest":                     "claude-3-7-sonnet",
		"claude-3-5-haiku-20241022":                    "claude-3-5-haiku",
		"claude-3-haiku-20240307":                      "claude-3-haiku",
		"anthropic/claude-sonnet-4":                    "claude-sonnet-4",
		"anthropic.claude-sonnet-4-20250514-v1:0":      "claude-sonnet-4",
		"us.anthropic.claude-3-5-sonnet-20241022-v2:0": "claude-3-5-sonnet",
		"claude-sonnet-4@20250514":                     "claude-sonnet-4",
		"claude-2.1":                                   "claude-2.1",
		" claude-opus-4-1 ":                            "claude-opus-4",
		"":                                             "",
		"gpt-4o":                                       "gpt-4o",
		"my-claude":                                    "my-claude",
	} {
		if got := Family(model); got != want {
			t.Errorf("Family(%q) = %q, want %q", model, got, want)
		}
	}
}

// The requests of Anthropic's guide "Token counting" and the counts that it shows for them.
func TestCountAgainstTheGuide(t *testing.T) {
	for name, v := range map[string]struct {
		body string
		want int
	}{
		"message": {`{"model":"claude-sonnet-4-5","system":"You are a scientist","messages":[{"role":"user","content":"Hello, Claude"}]}`, 14},
		"tools": {`{"model":"claude-sonnet-4-5","tools":[{"name":"get_weather","description":"Get the current weather in a given location",
			"input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"}},"required":["location"]}}],
			"messages":[{"role":"user","content":"What's the weather like in San Francisco?"}]}`, 403},
	} {
		got, err := Count([]byte(v.body))
		if err != nil || got.Model != "claude-sonnet-4-5" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if ratio := float64(got.Input) / float64(v.want); ratio < 0.95 || ratio > 1.25 {
			t.Errorf("%s: %d tokens estimated, %d counted", name, got.Input, v.want)
		}
	}
}

// TestSDKFixtures compares estimates with the usage in the answers that the official SDK's tests recorded.
func TestSDKFixtures(t *testing.T) {
	f, err := os.Open("testdata/sdk.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for ; lines.Scan(); n++ {
		var v struct {
			From  string
			Input int
			Body  json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		e, err := Count(v.Body)
		off := float64(e.Input-v.Input) / float64(v.Input)
		t.Logf("| %s | %d | %d | %+.0f %% |", v.From, e.Input, v.Input, 100*off) // the table in docs/anthropic.md
		if err != nil || off < -0.08 || off > 0.15 {
			t.Errorf("%s: %d estimated, %d reported, %v", v.From, e.Input, v.Input, err)
		}
	}
	if err := lines.Err(); err != nil || n < 20 {
		t.Errorf("read %d requests: %v", n, err)
	}
}

func TestImageTokens(t *testing.T) {
	// The table of Anthropic's guide "Vision".
	for _, v := range []struct{ w, h, want int }{
		{200, 200, 54}, {1000, 1000, 1334}, {1092, 1092, 1590}, {1920, 1080, 1600}, {0, 0, 1600}, {8000, 100, 41},
	} {
		if got := ImageTokens(v.w, v.h); got != v.want {
			t.Errorf("%d by %d: %d tokens, want %d", v.w, v.h, got, v.want)
		}
	}
}

func input(t *testing.T, body string) int {
	t.Helper()
	e, err := Count([]byte(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return e.Input
}

func TestCountParts(t *testing.T) {
	message := func(content string) string {
		return `{"model":"claude-sonnet-4-5","max_tokens":50,"stream":true,"messages":[{"role":"user","content":` + content + `}]}`
	}
	text := input(t, message(`"The quick brown fox jumps over the lazy dog."`))
	if text < 12 || text > 20 {
		t.Errorf("ten words count %d", text)
	}
	if got := input(t, message(`[{"type":"text","text":"The quick brown fox jumps over the lazy dog.","cache_control":{"type":"ephemeral"}}]`)); got != text {
		t.Errorf("the same as a block counts %d, want %d", got, text)
	}
	empty := input(t, message(`""`))
	png := "iVBORw0KGgoAAAANSUhEUgAAAyAAAAJYCAYAAACadoJw" // 800 by 600, the header alone
	for name, v := range map[string]struct {
		content   string
		low, high int
	}{
		"image":           {`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + png + `"}}]`, 640, 640},
		"image elsewhere": {`[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]`, 1600, 1600},
		"image uploaded":  {`[{"type":"image","source":{"type":"file","file_id":"file_1"}}]`, 0, 0},
		"pdf":             {`[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + strings.Repeat("A", 128_000) + `"}}]`, 1500, 1500},
		"plain document":  {`[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"` + strings.Repeat("word ", 100) + `"}}]`, 100, 200},
		"tool call":       {`[{"type":"tool_use","id":"toolu_0123456789","name":"get_weather","input":{"city":"Paris","days":[1,2,3]}}]`, 33, 50},
		"tool result":     {`[{"type":"tool_result","tool_use_id":"toolu_0123456789","content":[{"type":"text","text":"sunny"}]}]`, 26, 30},
		"thinking":        {`[{"type":"thinking","thinking":"Let me see.","signature":"` + strings.Repeat("x", 1000) + `"}]`, 2, 6},
		"japanese":        {`"お誕生日おめでとう"`, 9, 10},
	} {
		if got := input(t, message(v.content)) - empty; got < v.low || got > v.high {
			t.Errorf("%s: %d tokens, want %d to %d", name, got, v.low, v.high)
		}
	}
	e, err := CountValue(map[string]any{"model": "m", "max_tokens": 77, "stream": true, "messages": []any{}})
	if err != nil || e.MaxTokens != 77 || !e.Stream || e.Model != "m" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, v := range []any{[]byte(`{}`), json.RawMessage(`{}`), `{}`} {
		if _, err := CountValue(v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
	for _, v := range []any{``, `{`, `{"messages":[}`, func() {}, strings.Repeat(`{"messages":[`, 10_000)} {
		if _, err := CountValue(v); !errors.Is(err, ErrBody) {
			t.Errorf("%.20v: %v, want an error that matches ErrBody", v, err)
		}
	}
}

func TestUsage(t *testing.T) {
	got, ok := ReadUsage([]byte(`{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn",
		"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":3000,"output_tokens":7}}`))
	if want := (Usage{Input: 10, CacheWrite: 20, CacheRead: 3000, Output: 7}); got != want || !ok || got.Limited() != 30 {
		t.Errorf("%+v, %v, want %+v", got, ok, want)
	}
	if _, ok := ReadUsage([]byte(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)); ok {
		t.Error("an error has usage")
	}
	// Events in the form of the official SDK's recorded streams: usage in message_delta is the whole so far.
	stream, err := os.ReadFile("testdata/stream.sse")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 7, len(stream)} {
		r := NewUsageReader(true)
		for b := stream; len(b) > 0; {
			n := min(size, len(b))
			_, _ = r.Write(b[:n])
			b = b[n:]
		}
		if got, ok := r.Usage(); !ok || got != (Usage{Input: 31, CacheRead: 900, Output: 47}) {
			t.Errorf("in pieces of %d: %+v, %v", size, got, ok)
		}
	}
	r := NewUsageReader(true)
	_, _ = r.Write(stream[:700]) // cut
	if got, ok := r.Usage(); !ok || got.Input != 31 {
		t.Errorf("cut: %+v, %v", got, ok)
	}
}

func TestReadRateLimits(t *testing.T) {
	h := http.Header{}
	for k, v := range map[string]string{
		"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "49", "anthropic-ratelimit-requests-reset": "2026-01-02T03:04:05Z",
		"anthropic-ratelimit-input-tokens-limit": "40000", "anthropic-ratelimit-input-tokens-remaining": "39000", "anthropic-ratelimit-input-tokens-reset": "2026-01-02T03:04:06+01:00",
		"anthropic-ratelimit-output-tokens-limit": "-1", "anthropic-ratelimit-output-tokens-remaining": "0", "anthropic-ratelimit-output-tokens-reset": "soon",
	} {
		h.Set(k, v)
	}
	got := ReadRateLimits(h)
	if want := (RateLimit{50, 49, true, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}); got.Requests != want {
		t.Errorf("requests: %+v", got.Requests)
	}
	if in := got.InputTokens; in.Limit != 40000 || in.Remaining != 39000 || !in.Reset.Equal(time.Date(2026, 1, 2, 2, 4, 6, 0, time.UTC)) {
		t.Errorf("input: %+v", in)
	}
	if got.OutputTokens != (RateLimit{}) {
		t.Errorf("output: %+v", got.OutputTokens)
	}
}

func TestJudge(t *testing.T) {
	for status, want := range map[int]llm.Verdict{
		200: llm.Deliver, 400: llm.Deliver, 401: llm.Deliver, 402: llm.Deliver, 403: llm.Deliver, 404: llm.Deliver, 413: llm.Deliver,
		429: llm.Limited, 500: llm.Transient, 504: llm.Transient, 529: llm.Transient,
	} {
		if got := (dialect{}).Judge(status, http.Header{}, llm.Reading{}); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
	for text, want := range map[string]string{
		"This request would exceed your organization's rate limit of 30,000 input tokens per minute (org: x)": InputTokens,
		"… rate limit of 8,000 output tokens per minute …":                                                    OutputTokens,
		"… rate limit of 50 requests per minute …":                                                            Requests,
		"Number of requests has exceeded your rate limit":                                                     "",
	} {
		if got := (dialect{}).Exhausted(llm.Reading{ErrorText: text}); got != want {
			t.Errorf("%q is about %q, want %q", text, got, want)
		}
	}
}

func FuzzCount(f *testing.F) {
	f.Add([]byte(`{"model":"claude-sonnet-4-5","system":[{"type":"text","text":"x"}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}}]}],"tools":[{"name":"f"}]}`))
	f.Add([]byte(`{"messages":[{"content":[{"source":{"data":"x","media_type":"application/pdf"}}]}],"max_tokens":1e99}`))
	f.Add([]byte(`[[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Count(body)
		if err != nil && !errors.Is(err, ErrBody) {
			t.Errorf("an error of another kind: %v", err)
		}
		if e.Input < 0 || e.MaxTokens < 0 || e.Input > 2*len(body)+2000*(1+len(body)/8) {
			t.Errorf("%+v for %d bytes", e, len(body))
		}
	})
}
