package hostile_test

import (
	"bytes"
	"context"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// server answers each request in the same way, and ends the caller's patience after an error, so that nothing is sent
// again.
type server struct {
	status  int
	headers http.Header
	body    []byte
	enough  context.CancelFunc
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	if s.status >= 400 {
		s.enough()
	}
	return &http.Response{
		StatusCode: s.status, Header: s.headers, Body: io.NopCloser(bytes.NewReader(s.body)), ContentLength: -1, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// FuzzTransport: whatever a server answers, the caller gets it as it came, and the call is settled once, with amounts
// that a bucket can hold.
func FuzzTransport(f *testing.F) {
	for _, seed := range []struct {
		status        uint16
		headers, body string
	}{
		{200, "x-ratelimit-limit-requests: 10\nx-ratelimit-remaining-requests: -1\nx-ratelimit-reset-requests: 6m0s", `{"usage":{"prompt_tokens":1e30,"completion_tokens":-2,"total_tokens":3}}`},
		{200, "Content-Type: text/event-stream\nx-ratelimit-remaining-tokens: 1e300", "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":5}}\n\ndata: [DONE]\n\n"},
		{200, "Content-Type: text/event-stream", "event: response.completed\ndata: {\"response\":{\"usage\":{\"input_tokens\":9223372036854775807,\"output_tokens\":1}}}\n\n"},
		{200, "anthropic-ratelimit-input-tokens-limit: 1,000\nanthropic-ratelimit-input-tokens-remaining: 0\nanthropic-ratelimit-input-tokens-reset: 9999-01-01T00:00:00Z\nContent-Type: text/event-stream",
			"event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":7}}}\n\nevent: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end\"},\"usage\":{\"output_tokens\":3}}\n\n"},
		{429, "Retry-After: 99999999999\nDate: Fri, 31 Dec 9999 23:59:59 GMT", `{"error":{"type":"tokens","message":"Request too large for gpt-4o: Limit 1, Requested 2."}}`},
		{529, "retry-after-ms: 1e400\nx-should-retry: true", `{"error":{"type":"overloaded_error"}}`},
		{200, "Content-Encoding: gzip\nx-ratelimit-limit-tokens: NaN", "\x1f\x8b\x08\x00"},
		{204, "Content-Length: 0\nx-ratelimit-limit-tokens: 5e-324", ""},
	} {
		for _, provider := range []string{"openai", "anthropic"} {
			f.Add(provider == "openai", seed.status, seed.headers, []byte(seed.body), []byte(`{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`))
		}
	}
	f.Fuzz(func(t *testing.T, isOpenAI bool, status uint16, headers string, answer, request []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		base := &server{status: 200 + int(status)%400, headers: http.Header{}, body: answer, enough: cancel}
		for line := range strings.Lines(headers) {
			if name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ": "); ok {
				base.headers.Add(name, value)
			}
		}
		told := 0
		check := func(used throttle.Usage) {
			told++
			for resource, n := range used {
				if !(n >= 0) || math.IsInf(n, 0) {
					t.Errorf("%v %s were settled", n, resource)
				}
			}
		}
		var lim *throttle.Limiter
		var transport http.RoundTripper
		path := "https://api.openai.com/v1/chat/completions"
		if isOpenAI {
			lim = openai.NewLimiter(memory.New(), openai.Limits{RPM: 1e9, TPM: 1e12})
			transport = &openai.Transport{Limiter: lim, Base: base, MaxRetries: -1, Counter: &openai.Counter{}, OnAnswer: func(a openai.Answer) { check(a.Used) }}
		} else {
			path = "https://api.anthropic.com/v1/messages"
			lim = anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 1e9, ITPM: 1e12, OTPM: 1e12})
			transport = &anthropic.Transport{Limiter: lim, Base: base, MaxRetries: -1, Counter: &anthropic.Counter{}, OnAnswer: func(a anthropic.Answer) { check(a.Used) }}
		}
		defer lim.Close()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err == nil {
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, answer) || resp.StatusCode != base.status {
				t.Errorf("%d and %q arrived (%v) of %d and %q", resp.StatusCode, got, err, base.status, answer)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		}
		if told != 1 {
			t.Errorf("the call ended %d times (%v)", told, err)
		}
	})
}
