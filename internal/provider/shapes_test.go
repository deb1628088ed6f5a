package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"
)

// This file holds the answers to facts recorded in the official SDKs' own test data: which fields there are and of what
// kind, which headers, how streams are framed. The texts and ids in the literals are not the recorded ones.

// shape lists the fields of a JSON value with their kinds, like ".choices[].index" float.
func shape(t *testing.T, data string) map[string]string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatalf("parse %q: %v", data, err)
	}
	fields := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case nil:
			fields[path] = "null"
		case map[string]any:
			fields[path] = "object"
			for name, field := range v {
				walk(path+"."+name, field)
			}
		case []any:
			fields[path] = "array"
			for _, element := range v {
				walk(path+"[]", element)
			}
		default:
			fields[path] = strings.TrimRight(fmt.Sprintf("%T", v), "0123456789")
		}
	}
	walk("", v)
	return fields
}

// wantShape checks that got has every recorded field, of the recorded kind, and no other but those in extra.
func wantShape(t *testing.T, source, got, recorded string, extra ...string) {
	t.Helper()
	have, want := shape(t, got), shape(t, recorded)
	var problems []string
	for path, kind := range want {
		switch have[path] {
		case kind:
		case "":
			problems = append(problems, fmt.Sprintf("field %s is missing", path))
		default:
			if kind != "null" { // recorded without a value: any kind may be right
				problems = append(problems, fmt.Sprintf("field %s is %s, recorded as %s", path, have[path], kind))
			}
		}
	}
	for path := range have {
		if _, known := want[path]; !known && !slices.ContainsFunc(extra, func(e string) bool { return strings.HasPrefix(path, e) }) {
			problems = append(problems, fmt.Sprintf("field %s was not recorded", path))
		}
	}
	sort.Strings(problems)
	if problems != nil {
		t.Errorf("differs from %s:\n%s\nin %s", source, strings.Join(problems, "\n"), got)
	}
}

func TestOpenAIShapes(t *testing.T) {
	for _, tt := range []struct {
		source, path, request, recorded string
		extra                           []string
	}{
		{
			// Newer answers also have prompt_tokens_details, annotations and service_tier: they are in the response types of
			// openai-go (chatcompletion.go), not in this recording of 2024.
			source:  "openai/openai-python tests/lib/chat/test_completions.py, test_parse_nothing",
			path:    "/v1/chat/completions",
			request: chatBody("hello", `,"max_tokens":20`),
			recorded: `{"id":"chatcmpl-A","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":
				{"role":"assistant","content":"t","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":
				{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2,"completion_tokens_details":{"reasoning_tokens":0}},
				"system_fingerprint":"fp"}`,
			extra: []string{".service_tier", ".choices[].message.annotations", ".usage.prompt_tokens_details",
				".usage.completion_tokens_details."},
		},
		{
			source:  "openai/openai-python tests/lib/responses/test_responses.py, test_output_text",
			path:    "/v1/responses",
			request: `{"model":"gpt-4o-mini","input":"hello"}`,
			recorded: `{"id":"resp_1","object":"response","created_at":1,"status":"completed","background":false,"error":null,
				"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":"m","output":[{"id":"msg_1",
				"type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],
				"text":"t"}],"role":"assistant"}],"parallel_tool_calls":true,"previous_response_id":null,
				"reasoning":{"effort":null,"summary":null},"service_tier":"default","store":true,"temperature":1.0,
				"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":
				{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,"output_tokens_details":
				{"reasoning_tokens":0},"total_tokens":2},"user":null,"metadata":{}}`,
		},
		{
			source:  "openai/openai-python tests/lib/test_embeddings.py, response_body",
			path:    "/v1/embeddings",
			request: `{"model":"text-embedding-3-small","input":"hello","dimensions":3}`,
			recorded: `{"data":[{"embedding":[0.5],"index":0,"object":"embedding"}],"model":"text-embedding-3-small",
				"object":"list","usage":{"prompt_tokens":1,"total_tokens":1}}`,
		},
		{
			source:  "openai/openai-python api_reference/openapi.transformed.yml, example of /completions",
			path:    "/v1/completions",
			request: `{"model":"gpt-3.5-turbo-instruct","prompt":"hello","max_tokens":7}`,
			recorded: `{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","system_fingerprint":"fp","choices":
				[{"text":"t","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":5,
				"completion_tokens":7,"total_tokens":12}}`,
		},
	} {
		res := call(t, newProvider(t, Config{}), tt.path, tt.request)
		wantStatus(t, res, http.StatusOK)
		wantHeader(t, res, "content-type", "application/json")
		wantShape(t, tt.source, text(t, res), tt.recorded, tt.extra...)
	}
}

// openai/openai-python .inline-snapshot/external/e2aad469b71d…bin, the stream of test_parse_nothing in
// tests/lib/chat/test_completions_streaming.py: frames of one data line without an event line; a chunk with the role,
// chunks with content, one with an empty delta and the reason, one with the usage and no choices, then [DONE]. That a
// stream which asks for usage says "usage": null before its end is in api_reference/openapi.transformed.yml,
// ChatCompletionStreamOptions.
func TestChatStreamFraming(t *testing.T) {
	const head = `"id":"chatcmpl-A","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp"`
	for _, includeUsage := range []bool{false, true} {
		options := ""
		if includeUsage {
			options = `,"stream_options":{"include_usage":true}`
		}
		res := call(t, newProvider(t, Config{}), "/v1/chat/completions", chatBody("hello", `,"max_tokens":100,"stream":true`+options))
		wantStatus(t, res, http.StatusOK)
		wantHeader(t, res, "content-type", "text/event-stream; charset=utf-8")
		events := readEvents(t, text(t, res))
		last := len(events) - 1
		if events[last].data != "[DONE]" {
			t.Fatalf("the stream ends with %q, want [DONE]", events[last].data)
		}
		events = events[:last]
		if includeUsage {
			last = len(events) - 1
			wantShape(t, "the usage chunk", events[last].data, `{`+head+`,"choices":[],"usage":{"prompt_tokens":1,
				"completion_tokens":1,"total_tokens":2,"completion_tokens_details":{"reasoning_tokens":0}}}`,
				".service_tier", ".usage.prompt_tokens_details", ".usage.completion_tokens_details.")
			events = events[:last]
		}
		for i, e := range events {
			delta, reason := `{"content":"t"}`, `null`
			switch i {
			case 0:
				delta = `{"role":"assistant","content":"","refusal":null}`
			case len(events) - 1:
				delta, reason = `{}`, `"stop"`
			}
			extra := []string{".service_tier"}
			if includeUsage {
				extra = append(extra, ".usage")
			}
			wantShape(t, fmt.Sprintf("chunk %d", i), e.data,
				`{`+head+`,"choices":[{"index":0,"delta":`+delta+`,"logprobs":null,"finish_reason":`+reason+`}]}`, extra...)
			if e.name != "" {
				t.Errorf("chunk %d has an event line %q", i, e.name)
			}
			if got := strings.Contains(e.data, `"usage":null`); got != includeUsage {
				t.Errorf("chunk %d has a null usage: %v, want %v", i, got, includeUsage)
			}
		}
	}
}

// openai/openai-python api_reference/openapi.transformed.yml, the streaming example of POST /responses: the order of
// the events, their names repeated in "type", usage null until response.completed. tests/lib/test_bedrock_runtime.py
// has "sequence_number" in every event, from 0.
func TestResponsesStreamFraming(t *testing.T) {
	res := call(t, newProvider(t, Config{}), "/v1/responses", `{"model":"m","input":"hello","stream":true,"max_output_tokens":50}`)
	wantStatus(t, res, http.StatusOK)
	events := readEvents(t, text(t, res))
	want := []string{"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
		"response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
		"response.completed"}
	if got := slices.Compact(names(events)); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	fields := map[string]string{
		"response.output_item.added":  `"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}`,
		"response.content_part.added": `"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}`,
		"response.output_text.delta":  `"item_id":"msg_1","output_index":0,"content_index":0,"delta":"t"`,
		"response.output_text.done":   `"item_id":"msg_1","output_index":0,"content_index":0,"text":"t"`,
		"response.content_part.done":  `"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"t","annotations":[]}`,
	}
	var deltas strings.Builder
	for i, e := range events {
		var got struct {
			Type     string
			Number   int `json:"sequence_number"`
			Delta    string
			Text     string
			Response struct {
				Status string
				Usage  *struct {
					Input  int `json:"input_tokens"`
					Output int `json:"output_tokens"`
					Total  int `json:"total_tokens"`
				}
			}
		}
		if err := json.Unmarshal([]byte(e.data), &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != e.name || got.Number != i {
			t.Errorf("event %d is %q with type %q and number %d", i, e.name, got.Type, got.Number)
		}
		if recorded, ok := fields[e.name]; ok {
			wantShape(t, e.name, e.data, `{"type":"t","sequence_number":0,`+recorded+`}`, ".logprobs", ".part.logprobs")
		}
		deltas.WriteString(got.Delta)
		switch e.name {
		case "response.created":
			if got.Response.Status != "in_progress" || got.Response.Usage != nil {
				t.Errorf("%s: %+v, want in progress without usage", e.name, got.Response)
			}
		case "response.output_text.done":
			if got.Text != deltas.String() {
				t.Errorf("the deltas add up to %q, the text is %q", deltas.String(), got.Text)
			}
		case "response.completed":
			u := got.Response.Usage
			if u == nil || u.Input+u.Output != u.Total || u.Output != len(strings.Fields(deltas.String())) {
				t.Errorf("%s: %+v, want the usage of %d words", e.name, u, len(strings.Fields(deltas.String())))
			}
		}
	}
}

// Error bodies: {"error":{message,type,param,code}} in real refusals (for instance TheR1D/shell_gpt issue 653: type
// "tokens", param null, code "rate_limit_exceeded"). Headers: openai/openai-go internal/requestconfig/requestconfig.go
// reads Retry-After-Ms, then Retry-After; openai/openai-python src/openai/_base_client.py reads x-request-id.
func TestOpenAIErrorShape(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{TokensPerMinute: 100}})
	res := call(t, p, "/v1/chat/completions", chatBody("hello", `,"max_tokens":1000`))
	wantStatus(t, res, http.StatusTooManyRequests)
	wantShape(t, "a real refusal", text(t, res), `{"error":{"message":"m","type":"tokens","param":null,"code":"c"}}`)
	for _, name := range []string{"X-Request-Id", "Openai-Processing-Ms", "Openai-Version", "Openai-Organization"} {
		if res.Header.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
}

// anthropics/anthropic-sdk-go toolrunner/testdata/cassettes/tool_runner_basic.yaml: body and headers of an answer.
func TestAnthropicShapes(t *testing.T) {
	p := newProvider(t, Config{
		Default: Limits{RequestsPerMinute: 4000, InputTokensPerMinute: 200_000, OutputTokensPerMinute: 80_000},
	})
	res := call(t, p, "/v1/messages?beta=true", `{"model":"claude-3-7-sonnet-latest","max_tokens":512,"messages":
		[{"role":"user","content":[{"type":"text","text":"hello"}]}]}`)
	wantStatus(t, res, http.StatusOK)
	wantShape(t, "the cassette", text(t, res), `{"model":"m","id":"msg_1","type":"message","role":"assistant","content":
		[{"type":"text","text":"t"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,
		"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,
		"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}`)
	for name, want := range map[string]string{
		"Anthropic-Ratelimit-Input-Tokens-Limit":      "200000",
		"Anthropic-Ratelimit-Input-Tokens-Remaining":  "199000",
		"Anthropic-Ratelimit-Output-Tokens-Limit":     "80000",
		"Anthropic-Ratelimit-Output-Tokens-Remaining": "80000",
		"Anthropic-Ratelimit-Requests-Limit":          "4000",
		"Anthropic-Ratelimit-Requests-Remaining":      "3999",
		"Anthropic-Ratelimit-Tokens-Limit":            "280000",
		"Anthropic-Ratelimit-Tokens-Remaining":        "279000",
		"Content-Type":                                "application/json",
	} {
		wantHeader(t, res, name, want)
	}
	for _, name := range []string{"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Reset",
		"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Tokens-Reset"} {
		if got := res.Header.Get(name); len(got) != len("2025-10-30T16:17:36Z") || got[len(got)-1] != 'Z' {
			t.Errorf("header %s is %q, want a time like 2025-10-30T16:17:36Z", name, got)
		}
	}
	for _, name := range []string{"Request-Id", "Anthropic-Organization-Id", "X-Envoy-Upstream-Service-Time"} {
		if res.Header.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
}

// anthropics/anthropic-sdk-go toolrunner/testdata/cassettes/tool_runner_next_streaming.yaml: the events of a stream. The
// usage of message_delta is the whole usage; message_start already counts one output token.
func TestAnthropicStreamFraming(t *testing.T) {
	res := call(t, newProvider(t, Config{}), "/v1/messages", `{"model":"m","max_tokens":100,"stream":true,"messages":
		[{"role":"user","content":"hello"}]}`)
	wantStatus(t, res, http.StatusOK)
	wantHeader(t, res, "content-type", "text/event-stream; charset=utf-8")
	wantHeader(t, res, "cache-control", "no-cache")
	recorded := map[string]string{
		"message_start": `"message":{"model":"m","id":"msg_1","type":"message","role":"assistant","content":[],
			"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":394,"cache_creation_input_tokens":0,
			"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},
			"output_tokens":1,"service_tier":"standard"}}`,
		"content_block_start": `"index":0,"content_block":{"type":"text","text":""}`,
		"content_block_delta": `"index":0,"delta":{"type":"text_delta","text":"t"}`,
		"content_block_stop":  `"index":0`,
		"message_delta": `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":394,
			"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":79}`,
	}
	events := readEvents(t, text(t, res))
	want := []string{"message_start", "content_block_start", "ping", "content_block_delta", "content_block_stop",
		"message_delta", "message_stop"}
	if got := slices.Compact(names(events)); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	words := 0
	for _, e := range events {
		fields := recorded[e.name]
		if fields != "" {
			fields = "," + fields
		}
		wantShape(t, e.name, e.data, `{"type":"`+e.name+`"`+fields+`}`)
		var got struct {
			Type  string
			Delta struct{ Text string }
			Usage struct {
				Output int `json:"output_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(e.data), &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != e.name {
			t.Errorf("event %q has type %q", e.name, got.Type)
		}
		words += len(strings.Fields(got.Delta.Text))
		if e.name == "message_delta" && (got.Usage.Output != words || words == 0) {
			t.Errorf("message_delta reports %d output tokens after %d words", got.Usage.Output, words)
		}
	}
}

// anthropics/anthropic-sdk-go lib/betafallback/betafallback_test.go has the overloaded body, shared/shared.go the
// request_id of error answers; anthropics/anthropic-sdk-typescript issue 357 has x-should-retry on a 429.
func TestAnthropicErrorShape(t *testing.T) {
	res := call(t, newProvider(t, Config{}), "/v1/messages",
		`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hello"}]}`, SimulateHeader, "529")
	wantStatus(t, res, 529)
	wantHeader(t, res, "x-should-retry", "true")
	body := text(t, res)
	wantShape(t, "the SDK's", body, `{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"req_1"}`)
	if !strings.Contains(body, `"overloaded_error"`) {
		t.Errorf("body %s, want overloaded_error", body)
	}
}
