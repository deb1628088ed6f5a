package openai_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// Limits so large that nothing refills noticeably during a test, so that levels tell what was settled.
const (
	manyRequests = 1000
	manyTokens   = 1_000_000
)

// slowQuotas refill in years.
func slowQuotas() throttle.Models {
	const year = 8760 * time.Hour
	return throttle.Static(
		throttle.Quota{Resource: openai.Requests, Limit: manyRequests, Per: year},
		throttle.Quota{Resource: openai.Tokens, Limit: manyTokens, Per: year})
}

// site is a server with a handler of the test's own, behind a transport.
type site struct {
	*httptest.Server
	limiter   *throttle.Limiter
	transport *openai.Transport
	client    *http.Client
	answers   chan openai.Answer
}

func newSite(t *testing.T, handler http.HandlerFunc) *site {
	t.Helper()
	s := &site{Server: httptest.NewServer(handler), limiter: throttle.New(memory.New(), slowQuotas()), answers: make(chan openai.Answer, 100)}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := &http.Transport{}
	s.transport = &openai.Transport{
		Limiter: s.limiter, Base: base, Hosts: []string{u.Host}, Counter: &openai.Counter{},
		OnAnswer: func(a openai.Answer) { s.answers <- a },
	}
	s.client = &http.Client{Transport: s.transport}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		s.Close()
		if err := s.limiter.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// used is what the limiter holds as used, by resource.
func (s *site) used(t *testing.T) (requests, tokens float64) {
	t.Helper()
	st, err := s.limiter.Status(context.Background(), "gpt-4o")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range st.Buckets {
		switch b.Resource {
		case openai.Requests:
			requests = manyRequests - b.Level
		case openai.Tokens:
			tokens = manyTokens - b.Level
		}
	}
	return math.Round(requests), math.Round(tokens)
}

func (s *site) check(t *testing.T, requests, tokens float64) {
	t.Helper()
	if r, n := s.used(t); r != requests || n != tokens {
		t.Errorf("%v requests and %v tokens count as used, want %v and %v", r, n, requests, tokens)
	}
}

// request is a chat request that asks for at most 100 tokens; it reserves 8 + 100.
const request = `{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"max_tokens":100}`

const reserved = 108

func (s *site) do(ctx context.Context, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/chat/completions", body)
	if err != nil {
		return nil, err
	}
	return s.client.Do(r)
}

// fetch sends the request and reads the answer to its end.
func (s *site) fetch(t *testing.T) (int, string) {
	t.Helper()
	resp, err := s.do(t.Context(), strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Logf("reading: %v", err)
	}
	return resp.StatusCode, string(b)
}

func stream(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, e := range events {
		_, _ = io.WriteString(w, "data: "+e+"\n\n")
		w.(http.Flusher).Flush()
	}
}

func TestSettlesWithUsage(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}`
	for name, v := range map[string]struct {
		handler http.HandlerFunc
		tokens  float64
	}{
		"document": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Hello there, how are you?"}}],`+usage+`}`)
		}, 14},
		"chunked": {func(w http.ResponseWriter, _ *http.Request) {
			for _, b := range []byte(`{` + usage + `}`) {
				_, _ = w.Write([]byte{b})
				w.(http.Flusher).Flush()
			}
		}, 14},
		"stream": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}],"usage":null}`, `{"choices":[],`+usage+`}`, `[DONE]`)
		}, 14},
		"stream without usage": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`, `{"choices":[{"delta":{"content":" world"}}]}`, `[DONE]`)
		}, 8 + 2},
		"cut stream": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`, `{"choices":[{"delta":{"content":" wor`)
			panic(http.ErrAbortHandler)
		}, 8 + 2},
		"cut stream with usage so far": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}`)
			panic(http.ErrAbortHandler)
		}, 10},
		"stream that ends in an error": {func(w http.ResponseWriter, _ *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`, `{"error":{"message":"The server had an error","type":"server_error"}}`)
		}, 8 + 1},
		"cut document": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Hel`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, reserved},
		"no usage": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Hello world"}}]}`)
		}, 8 + 2},
		"not JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) }, reserved},
		"empty":    {func(http.ResponseWriter, *http.Request) {}, reserved},
		"no body":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, reserved},
		"more than reserved": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":900,"completion_tokens":500}}`)
		}, 1400},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, v.handler)
			s.fetch(t)
			s.check(t, 1, v.tokens)
			if a := <-s.answers; a.Tries != 1 || a.Reserved[openai.Tokens] != reserved {
				t.Errorf("reported %+v", a)
			}
		})
	}
}

// What was gzipped is settled like any other answer, whether net/http unpacks it or the client does.
func TestSettlesGzip(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			t.Error("the client doesn't take gzip")
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/event-stream")
		z := gzip.NewWriter(w)
		for _, e := range []string{`{"choices":[{"delta":{"content":"Hello"}}]}`, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}`, `[DONE]`} {
			_, _ = io.WriteString(z, "data: "+e+"\n\n")
			_ = z.Flush()
			w.(http.Flusher).Flush()
		}
		_ = z.Close()
	}
	for _, explicit := range []bool{false, true} {
		s := newSite(t, handler)
		r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		if explicit {
			r.Header.Set("Accept-Encoding", "gzip")
		}
		resp, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if packed := bytes.HasPrefix(raw, []byte{0x1f, 0x8b}); packed != explicit {
			t.Errorf("the client was given packed bytes: %v, want %v", packed, explicit)
		}
		s.check(t, 1, 14)
	}
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(w, "\x01\x02")
	})
	s.fetch(t)
	s.check(t, 1, reserved) // an encoding that isn't understood
}

// The stream's usage settles the call when it comes, not when the client gets around to closing the body.
func TestSettlesBeforeTheBodyIsClosed(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, `{"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}`, `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5}}`, `[DONE]`)
		<-hold
	})
	defer close(hold)
	resp, err := s.do(t.Context(), strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got strings.Builder
	for buf := make([]byte, 64); !strings.HasSuffix(got.String(), "[DONE]\n\n"); {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(buf[:n])
	}
	s.check(t, 1, 14)
}

func TestClosedEarly(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`)
		<-hold
	})
	defer close(hold)
	resp, err := s.do(t.Context(), strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resp.Body.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	s.check(t, 1, 8+1)
	if a := <-s.answers; a.Complete || a.HasUsage {
		t.Errorf("reported %+v", a)
	}
	if err := resp.Body.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	s.check(t, 1, 8+1)
}

// A reasoning model generates what its stream doesn't show.
func TestReasoningStreamWithoutUsage(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`, `[DONE]`)
	})
	resp, err := s.do(t.Context(), strings.NewReader(`{"model":"o3","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":100,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if a := <-s.answers; a.Used != nil || a.Estimate.Output != 100 {
		t.Errorf("reported %+v", a)
	}
}

func TestFailuresSettle(t *testing.T) {
	t.Run("no connection", func(t *testing.T) {
		s := newSite(t, nil)
		s.transport.Base = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("no route")
		}}
		if _, err := s.do(t.Context(), strings.NewReader(request)); err == nil {
			t.Fatal("no error")
		}
		s.check(t, 0, 0) // it never left
		if a := <-s.answers; a.Err == nil || a.Status != 0 || a.Tries != 1 {
			t.Errorf("reported %+v", a)
		}
	})
	t.Run("connection lost", func(t *testing.T) {
		s := newSite(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		if _, err := s.do(t.Context(), strings.NewReader(request)); err == nil {
			t.Fatal("no error")
		}
		s.check(t, 1, reserved) // who knows
	})
	t.Run("cancelled in flight", func(t *testing.T) {
		arrived := make(chan struct{})
		s := newSite(t, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if _, err := s.do(ctx, strings.NewReader(request)); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v, want context.Canceled", err)
		}
		s.check(t, 1, reserved)
	})
	t.Run("cancelled while reading", func(t *testing.T) {
		s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
			stream(w, `{"choices":[{"delta":{"content":"Hello"}}]}`)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := s.do(ctx, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := resp.Body.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
		s.check(t, 1, 8+1)
		_ = resp.Body.Close()
		s.check(t, 1, 8+1)
	})
	t.Run("cancelled while waiting", func(t *testing.T) {
		s := newSite(t, nil)
		if err := s.limiter.Pause(t.Context(), "gpt-4o", time.Hour); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := s.do(ctx, strings.NewReader(request)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want context.DeadlineExceeded", err)
		}
		s.check(t, 0, 0)
		if a := <-s.answers; a.Tries != 0 || !errors.Is(a.Err, context.DeadlineExceeded) {
			t.Errorf("reported %+v", a)
		}
	})
	t.Run("panic while sending", func(t *testing.T) {
		s := newSite(t, nil)
		s.transport.Base = roundTripFunc(func(*http.Request) (*http.Response, error) { panic("boom") })
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = s.do(t.Context(), strings.NewReader(request))
		}()
		s.check(t, 1, reserved)
	})
	t.Run("panic while reading", func(t *testing.T) {
		s := newSite(t, nil)
		s.transport.Base = roundTripFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(panicReader{})}, nil
		})
		resp, err := s.do(t.Context(), strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			defer resp.Body.Close() // as every caller has it
			_, _ = io.ReadAll(resp.Body)
		}()
		s.check(t, 1, reserved)
	})
	t.Run("too large", func(t *testing.T) {
		s := newSite(t, nil)
		_, err := s.do(t.Context(), strings.NewReader(strings.Replace(request, "100", "2000000", 1)))
		if tooLarge := (*throttle.TooLargeError)(nil); !errors.As(err, &tooLarge) || tooLarge.Resource != openai.Tokens {
			t.Fatalf("%v, want a TooLargeError", err)
		}
		s.check(t, 0, 0)
	})
	t.Run("limiter closed", func(t *testing.T) {
		s := newSite(t, nil)
		if err := s.limiter.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.do(t.Context(), strings.NewReader(request)); !errors.Is(err, throttle.ErrClosed) {
			t.Fatalf("%v, want ErrClosed", err)
		}
	})
	t.Run("body fails", func(t *testing.T) {
		s := newSite(t, nil)
		broken := errors.New("disk on fire")
		if _, err := s.do(t.Context(), io.MultiReader(strings.NewReader(`{"model":`), failing{broken})); !errors.Is(err, broken) {
			t.Fatalf("%v, want %v", err, broken)
		}
		s.check(t, 0, 0)
	})
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("boom") }

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestMalformedAndCutAnswersOfTheProvider(t *testing.T) {
	for _, fault := range []provider.Fault{provider.FaultCut, provider.FaultMalformed, provider.FaultSlow} {
		for _, more := range []string{`,"max_tokens":60`, `,"max_tokens":60,"stream":true,"stream_options":{"include_usage":true}`} {
			cfg := provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, TokensPerMinute: 100_000}, Faults: provider.Faults{SlowBy: 10 * time.Millisecond}}
			b := newBench(t, cfg, nil, nil)
			_, body, err := b.post(t.Context(), "/v1/chat/completions", chatBody(1, more), provider.SimulateHeader, string(fault))
			a := b.last(t)
			t.Logf("%s %s: %v, %d bytes, used %v", fault, more, err, len(body), a.Used)
			if a.Used[openai.Tokens] > 100 || a.Status != 200 {
				t.Errorf("%s: %+v", fault, a)
			}
		}
	}
}
