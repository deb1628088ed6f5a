package provider

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// messageAnswer is a message as a client reads it.
type messageAnswer struct {
	Content []struct{ Text string }
	Usage   struct {
		Input    int64 `json:"input_tokens"`
		Creation int64 `json:"cache_creation_input_tokens"`
		Read     int64 `json:"cache_read_input_tokens"`
		Output   int64 `json:"output_tokens"`
	}
}

func TestInputIsChargedAtOnceAndOutputAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{
			Latency: Latency{PerToken: 100 * time.Millisecond},
			Output:  Output{Min: 0.2, Max: 0.2, Chunk: 1},
			Default: Limits{InputTokensPerMinute: 6000, OutputTokensPerMinute: 60},
		})
		// 3 for the message, 21 letters with the role's line before them are 7 tokens.
		body := `{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"` + strings.Repeat("x", 21) + `"}]}`
		done := make(chan *http.Response)
		go func() { done <- call(t, p, "/v1/messages", body) }()
		time.Sleep(50 * time.Millisecond)
		views := p.account("m").views(time.Now())
		if in, out := views[inputMinute].remaining, views[outputMinute].remaining; in != 5995 || out != 60 {
			t.Errorf("at once %v input and %v output remain, want 5995 (10 of 6000 used, 5 came back) and 60", in, out)
		}
		time.Sleep(time.Second)
		// Ten tokens came, at ten a second, and one came back.
		if out := p.account("m").views(time.Now())[outputMinute].remaining; out != 50 {
			t.Errorf("after a second %v output tokens remain, want 50 (10 generated, 1 came back, rounded down)", out)
		}
		// 200 tokens overdraw the 60: nobody is admitted while there is none, and the answer goes on.
		time.Sleep(10 * time.Second)
		res := call(t, p, "/v1/messages", body)
		wantStatus(t, res, http.StatusTooManyRequests)
		wantHeader(t, res, "anthropic-ratelimit-output-tokens-remaining", "0")
		wantHeader(t, res, "retry-after-ms", "")
		if got := res.Header.Get("retry-after"); got == "" || got == "0" {
			t.Errorf("retry-after %q, want seconds", got)
		}
		var e anthropicError
		decode(t, res, &e)
		if e.Type != "error" || e.Error.Type != "rate_limit_error" || e.RequestID != res.Header.Get("request-id") ||
			!strings.Contains(e.Error.Message, "rate limit of 60 output tokens per minute") {
			t.Errorf("error %+v", e)
		}
		res = <-done
		wantStatus(t, res, http.StatusOK)
		var m messageAnswer
		decode(t, res, &m)
		if m.Usage.Input != 10 || m.Usage.Output != 200 || len(strings.Fields(m.Content[0].Text)) != 200 {
			t.Errorf("usage %+v, want 10 and 200", m.Usage)
		}
		s := p.Stats()["m"]
		if s.Rejected429["output_tokens/minute"] != 1 || s.Used != (Work{Requests: 1, InputTokens: 10, OutputTokens: 200}) {
			t.Errorf("stats %+v", s)
		}
		// 200 generated from 0.1 s to 20 s, 19.9 came back: 180.1 in use of 60, so 120.1 s until some is left.
		time.Sleep(120*time.Second + 99*time.Millisecond)
		wantStatus(t, call(t, p, "/v1/messages", body), http.StatusTooManyRequests)
		time.Sleep(2 * time.Millisecond)
		wantStatus(t, call(t, p, "/v1/messages", body), http.StatusOK)
	})
}

func TestInputBeyondTheLimit(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{InputTokensPerMinute: 30_000}})
	body := func(bytes int) string {
		return fmt.Sprintf(`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":%q}]}`, strings.Repeat("x", bytes))
	}
	res := call(t, p, "/v1/messages", body(200_000))
	wantStatus(t, res, http.StatusTooManyRequests)
	wantHeader(t, res, "retry-after", "")
	var e anthropicError
	decode(t, res, &e)
	if !strings.HasPrefix(e.Error.Message, "This request would exceed your organization's rate limit of 30,000 input tokens per minute") {
		t.Errorf("message %q", e.Error.Message)
	}
	wantStatus(t, call(t, p, "/v1/messages", body(100_000)), http.StatusOK)
	wantStatus(t, call(t, p, "/v1/messages", body(100_000)), http.StatusTooManyRequests)
}

func TestCachedPromptIsCreatedOnceThenRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Default: Limits{InputTokensPerMinute: 1_000_000}})
		ask := func(question string) messageAnswer {
			res := call(t, p, "/v1/messages", fmt.Sprintf(`{"model":"m","max_tokens":10,
				"system":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}],
				"messages":[{"role":"user","content":%q}]}`, strings.Repeat("s", 4000), question))
			wantStatus(t, res, http.StatusOK)
			var m messageAnswer
			decode(t, res, &m)
			return m
		}
		want := func(m messageAnswer, input, creation, read int64) {
			t.Helper()
			if u := m.Usage; u.Input != input || u.Creation != creation || u.Read != read {
				t.Errorf("usage %+v, want input %d, creation %d, read %d", u, input, creation, read)
			}
		}
		// "user" and a line end before the question: 3 for the message and 2 for 8 bytes.
		want(ask("one"), 5, 1000, 0)
		want(ask("two"), 5, 0, 1000)
		if used := p.Stats()["m"].Used.InputTokens; used != 1010 {
			t.Errorf("used %d input tokens, want 1010: reads are free", used)
		}
		time.Sleep(5*time.Minute - time.Second)
		want(ask("still there"), 7, 0, 1000)
		time.Sleep(5 * time.Minute)
		want(ask("gone"), 6, 1000, 0)
		// A second mark further on: what was cached is read, what follows it is created.
		res := call(t, p, "/v1/messages", fmt.Sprintf(`{"model":"m","max_tokens":10,
			"system":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}],
			"messages":[{"role":"user","content":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}},
			{"type":"text","text":"now"}]}]}`, strings.Repeat("s", 4000), strings.Repeat("q", 395)))
		wantStatus(t, res, http.StatusOK)
		var m messageAnswer
		decode(t, res, &m)
		want(m, 2, 103, 1000)
	})
}

func TestCountTokensCountsWhatMessagesCharge(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 2}})
	const prompt = `"model":"m","system":"be brief","tools":[{"name":"f","input_schema":{}}],"messages":[{"role":"user","content":"hello"}]`
	var count struct {
		InputTokens int64 `json:"input_tokens"`
	}
	res := call(t, p, "/v1/messages/count_tokens", `{`+prompt+`}`)
	wantStatus(t, res, http.StatusOK)
	decode(t, res, &count)
	var m messageAnswer
	decode(t, call(t, p, "/v1/messages", `{"max_tokens":10,`+prompt+`}`), &m)
	if count.InputTokens != m.Usage.Input || count.InputTokens == 0 {
		t.Errorf("counted %d, the message used %d", count.InputTokens, m.Usage.Input)
	}
	if s := p.Stats()["m"]; s.Accepted != 1 {
		t.Errorf("stats %+v: counting must not cost a request", s)
	}
	for body, want := range map[string]string{
		`{"model":"m","messages":[{"role":"user","content":"x"}]}`: "max_tokens: Field required",
		`{"max_tokens":1}`:             "model: Field required",
		`{"model":"m","max_tokens":1}`: "messages: Field required",
		`{"model":`:                    "could not parse",
	} {
		res := call(t, p, "/v1/messages", body)
		wantStatus(t, res, http.StatusBadRequest)
		if got := text(t, res); !strings.Contains(got, want) || !strings.Contains(got, `"invalid_request_error"`) {
			t.Errorf("%s: %s, want %q in it", body, got, want)
		}
	}
}
