package provider

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswersFollowFromTheBody(t *testing.T) {
	type answer struct {
		Choices []struct{ Message struct{ Content string } }
		Usage   chatUsage
	}
	ask := func(p *Provider, text string) (a answer) {
		decode(t, call(t, p, "/v1/chat/completions", chatBody(text, `,"max_tokens":1000,"n":2`)), &a)
		return a
	}
	first, second := newProvider(t, Config{Seed: 1}), newProvider(t, Config{Seed: 1})
	ask(second, "something else first")
	lengths := map[int64]bool{}
	for i := range 100 {
		a, b := ask(first, fmt.Sprint(i)), ask(second, fmt.Sprint(i))
		if a.Choices[0] != b.Choices[0] || a.Usage.TotalTokens != b.Usage.TotalTokens {
			t.Fatalf("request %d has two answers", i)
		}
		if a.Choices[0] == a.Choices[1] {
			t.Errorf("request %d: both choices are the same", i)
		}
		each := a.Usage.CompletionTokens / 2
		if each < 50 || each > 400 {
			t.Errorf("request %d: %d tokens a choice, want 5 to 40 %% of 1000", i, each)
		}
		lengths[each] = true
	}
	if len(lengths) < 50 {
		t.Errorf("only %d lengths in 100 answers", len(lengths))
	}
	if ask(newProvider(t, Config{Seed: 2}), "1").Choices[0] == ask(first, "1").Choices[0] {
		t.Error("another seed gave the same answer")
	}
}

func TestStreamingAndFieldOrderMakeNoDifference(t *testing.T) {
	base := hashOfRequest([]byte(`{"model":"m","max_tokens":10,"messages":[]}`))
	for body, same := range map[string]bool{
		`{"messages": [], "max_tokens": 10, "model": "m"}`:                                                  true,
		`{"model":"m","max_tokens":10,"messages":[],"stream":true,"stream_options":{"include_usage":true}}`: true,
		`{"model":"m","max_tokens":11,"messages":[]}`:                                                       false,
	} {
		if got := hashOfRequest([]byte(body)) == base; got != same {
			t.Errorf("%s is the same request: %v, want %v", body, got, same)
		}
	}
}

func TestLatencyIsBasePlusTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := func(cfg Config, text string) time.Duration {
			cfg.Output = Output{Min: 0.1, Max: 0.1}
			start := time.Now()
			wantStatus(t, call(t, newProvider(t, cfg), "/v1/chat/completions", chatBody(text, `,"max_tokens":100`)), http.StatusOK)
			return time.Since(start)
		}
		latency := Latency{Base: time.Second, PerToken: 20 * time.Millisecond}
		if got := took(Config{Latency: latency}, "x"); got != 1200*time.Millisecond {
			t.Errorf("took %v, want 1s and ten times 20ms", got)
		}
		latency.Jitter = 0.5
		different := map[time.Duration]bool{}
		for i := range 20 {
			d := took(Config{Latency: latency}, fmt.Sprint(i))
			if d < 600*time.Millisecond-time.Microsecond || d > 1800*time.Millisecond {
				t.Errorf("took %v, want 1.2s half more or less", d)
			}
			if again := took(Config{Latency: latency}, fmt.Sprint(i)); again != d {
				t.Errorf("the same request took %v and %v", d, again)
			}
			different[d] = true
		}
		if len(different) < 15 {
			t.Errorf("only %d latencies in 20 requests", len(different))
		}
		if got := took(Config{}, "x"); got != 0 {
			t.Errorf("without latency it took %v", got)
		}
	})
}

func TestACanceledRequestIsCorrectedToWhatWasGenerated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{
			Latency: Latency{Base: time.Second, PerToken: 100 * time.Millisecond},
			Output:  Output{Min: 0.5, Max: 0.5, Chunk: 1},
			Default: Limits{TokensPerMinute: 6000},
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+50*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/v1/chat/completions",
			strings.NewReader(chatBody("hello", `,"max_tokens":1000`)))
		func() {
			defer func() {
				if err := recover(); err != http.ErrAbortHandler {
					t.Errorf("the handler ended with %v, want ErrAbortHandler", err)
				}
			}()
			p.ServeHTTP(httptest.NewRecorder(), r)
		}()
		s := p.Stats()["gpt-4o"]
		// The prompt of 9, and 20 tokens in the two seconds after the first.
		if s.Used.Tokens != 29 || s.Charged.Tokens != 1009 || s.Canceled != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v, want 29 of 1009 tokens used by one canceled request", s)
		}
		// 1009 charged, 3.05 s gave 305 back, the correction 980 more: nothing is in use.
		if got := p.account("gpt-4o").views(time.Now())[tokensMinute].remaining; got != 6000 {
			t.Errorf("%v tokens remain, want 6000", got)
		}
	})
}

func TestInvalidRequests(t *testing.T) {
	p := newProvider(t, Config{})
	for _, tt := range []struct{ path, body, want string }{
		{"/v1/chat/completions", `{"messages":[]}`, `"param":"model"`},
		{"/v1/chat/completions", `{"model":"m"}`, `"param":"messages"`},
		{"/v1/chat/completions", chatBody("x", `,"n":0`), `"param":"n"`},
		{"/v1/chat/completions", chatBody("x", `,"n":129`), `"param":"n"`},
		{"/v1/chat/completions", chatBody("x", `,"max_tokens":-1`), `"param":"max_tokens"`},
		{"/v1/chat/completions", chatBody("x", `,"max_tokens":99999999999999`), `"param":"max_tokens"`},
		{"/v1/chat/completions", `[`, `could not parse`},
		{"/v1/chat/completions", `[]`, `could not parse`},
		{"/v1/responses", `{"model":"m"}`, `"param":"input"`},
		{"/v1/embeddings", `{"model":"m"}`, `"param":"input"`},
		{"/v1/embeddings", `{"model":"m","input":"x","dimensions":0}`, `"param":"dimensions"`},
		{"/v1/embeddings", `{"model":"m","input":{"x":1}}`, `could not parse`},
		{"/v1/completions", `{"prompt":"x"}`, `"param":"model"`},
		{"/v1/completions", `{"model":"m","prompt":[` + strings.Repeat(`"x",`, maxPrompts) + `"x"]}`, `"param":"prompt"`},
	} {
		res := call(t, p, tt.path, tt.body)
		wantStatus(t, res, http.StatusBadRequest)
		if got := text(t, res); !strings.Contains(got, tt.want) || !strings.Contains(got, `"invalid_request_error"`) {
			t.Errorf("%s %.80s: %s, want %s in it", tt.path, tt.body, got, tt.want)
		}
	}
	if s := p.Stats()["m"]; s.Invalid == 0 || s.Accepted != 0 {
		t.Errorf("stats %+v, want invalid requests and none accepted", s)
	}
}

func TestEmbeddingForms(t *testing.T) {
	p := newProvider(t, Config{})
	for _, tt := range []struct {
		input  string
		count  int
		tokens int64
	}{
		{`"12345678"`, 1, 2}, {`["1234","12345"]`, 2, 3}, {`[1,2,3]`, 1, 3}, {`[[1,2],[3]]`, 2, 3},
	} {
		var list struct {
			Data []struct {
				Index     int
				Embedding []float64
			}
			Usage embeddingUsage
		}
		decode(t, call(t, p, "/v1/embeddings", `{"model":"m","input":`+tt.input+`}`), &list)
		if len(list.Data) != tt.count || list.Usage.PromptTokens != tt.tokens || list.Usage.TotalTokens != tt.tokens {
			t.Errorf("%s: %d embeddings, usage %+v, want %d and %d", tt.input, len(list.Data), list.Usage, tt.count, tt.tokens)
		}
		for i, e := range list.Data {
			var square float64
			for _, x := range e.Embedding {
				square += x * x
			}
			if e.Index != i || len(e.Embedding) != defaultDimensions || math.Abs(square-1) > 1e-4 {
				t.Errorf("%s: embedding %d has index %d, %d dimensions, length² %v", tt.input, i, e.Index, len(e.Embedding), square)
			}
		}
	}
	var encoded struct{ Data []struct{ Embedding string } }
	decode(t, call(t, p, "/v1/embeddings", `{"model":"m","input":"x","dimensions":8,"encoding_format":"base64"}`), &encoded)
	if b, err := base64.StdEncoding.DecodeString(encoded.Data[0].Embedding); err != nil || len(b) != 32 {
		t.Errorf("base64 %q: %d bytes, %v, want 8 float32", encoded.Data[0].Embedding, len(b), err)
	}
}

func TestCompletionsAnswerEachPrompt(t *testing.T) {
	p := newProvider(t, Config{})
	for _, stream := range []bool{false, true} {
		body := fmt.Sprintf(`{"model":"m%v","prompt":["1234","5678"],"n":2,"max_tokens":100,"stream":%v,"stream_options":{"include_usage":true}}`,
			stream, stream)
		res := call(t, p, "/v1/completions", body)
		wantStatus(t, res, http.StatusOK)
		s := p.Stats()[fmt.Sprintf("m%v", stream)]
		if s.Charged.Tokens != 2+4*100 {
			t.Errorf("charged %d, want 2 for the prompts and 4 answers of 100", s.Charged.Tokens)
		}
		answer := text(t, res)
		if stream {
			events := readEvents(t, answer)
			if events[len(events)-1].data != "[DONE]" {
				t.Errorf("the stream ends with %q", events[len(events)-1].data)
			}
			answer = events[len(events)-2].data
		}
		if want := fmt.Sprintf(`"total_tokens":%d`, s.Used.Tokens); !strings.Contains(answer, want) {
			t.Errorf("answer %s, want %s in it", answer, want)
		}
	}
}

func TestCountIsPluggable(t *testing.T) {
	p := newProvider(t, Config{Count: func(_, text string) int { return len(strings.Fields(text)) }})
	var a struct{ Usage chatUsage }
	decode(t, call(t, p, "/v1/chat/completions", chatBody("one two three", "")), &a)
	if a.Usage.PromptTokens != 3+3+1+3 {
		t.Errorf("prompt tokens %d, want 10", a.Usage.PromptTokens)
	}
}

func TestChatPromptCountsEverythingThatIsSent(t *testing.T) {
	p := newProvider(t, Config{})
	for _, tt := range []struct {
		name, body string
		want       int64
	}{
		{"parts", `"messages":[{"role":"user","content":[{"type":"text","text":"1234"},{"type":"text","text":"5678"}]}]`, 3 + 4 + 2},
		{"name", `"messages":[{"role":"user","name":"abcd","content":"1234"}]`, 3 + 4 + 1 + 1 + 1},
		{"tools", `"messages":[{"role":"user","content":"1234"}],"tools":[{"a":12}]`, 3 + 4 + 1 + 3},
	} {
		var a struct{ Usage chatUsage }
		decode(t, call(t, p, "/v1/chat/completions", `{"model":"m",`+tt.body+`}`), &a)
		if a.Usage.PromptTokens != tt.want {
			t.Errorf("%s: %d prompt tokens, want %d", tt.name, a.Usage.PromptTokens, tt.want)
		}
	}
	for _, tt := range []struct {
		name, input string
		want        int64
	}{
		{"text", `"12345678"`, 3 + 4 + 2},
		{"messages", `[{"role":"user","content":"1234"},{"role":"user","content":[{"type":"input_text","text":"1234"}]}]`, 3 + 2*(4+1)},
		{"instructions", `"1234","instructions":"1234"`, 3 + 2*(4+1)},
	} {
		var a struct {
			Usage struct {
				Input int64 `json:"input_tokens"`
			}
		}
		decode(t, call(t, p, "/v1/responses", `{"model":"m","input":`+tt.input+`}`), &a)
		if a.Usage.Input != tt.want {
			t.Errorf("responses with %s: %d input tokens, want %d", tt.name, a.Usage.Input, tt.want)
		}
	}
}
