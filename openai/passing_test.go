package openai_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// What isn't a call of the provider's passes through as the very request that was given.
func TestOtherRequestsPassUntouched(t *testing.T) {
	var got *http.Request
	s := newSite(t, nil)
	s.transport.Base = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		got = r
		return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"60"}}, Body: http.NoBody}, nil
	})
	for _, v := range []struct{ method, url string }{
		{"POST", "https://example.com/v1/chat/completions"},
		{"POST", "https://api.openai.com.example.com/v1/chat/completions"},
		{"POST", s.URL + "0/v1/chat/completions"}, // another port
		{"POST", s.URL + "/v1/files"},
		{"GET", s.URL + "/v1/models"},
		{"GET", s.URL + "/v1/chat/completions"},
	} {
		r, err := http.NewRequest(v.method, v.url, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.transport.RoundTrip(r)
		if err != nil || resp.StatusCode != 429 {
			t.Errorf("%s %s: %v", v.method, v.url, err)
		}
		if got != r {
			t.Errorf("%s %s: another request was sent", v.method, v.url)
		}
	}
	s.check(t, 0, 0)
}

// A proxy whose host was not given gets calls without limits, which nothing else shows: so a log does, once. Where hosts
// are given, those not among them are meant.
func TestAHostThatNobodyNamedIsWarnedOf(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	lim := throttle.New(memory.New(), slowQuotas())
	defer lim.Close()
	for _, hosts := range [][]string{nil, openai.DefaultHosts} {
		log.Reset()
		tr := &openai.Transport{Limiter: lim, Hosts: hosts,
			Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("no network") })}
		for _, url := range []string{
			"http://proxy:4000/v1/chat/completions", "http://proxy:4000/v1/embeddings", "http://other/v1/models", "http://other/v1/responses",
		} {
			r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(request))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = tr.RoundTrip(r)
		}
		if n := strings.Count(log.String(), "\n"); hosts == nil && (n != 2 || !strings.Contains(log.String(), "host=proxy:4000")) || hosts != nil && n != 0 {
			t.Errorf("hosts %v: logged\n%s", hosts, log.String())
		}
	}
}

func TestHosts(t *testing.T) {
	lim := throttle.New(memory.New(), slowQuotas())
	defer lim.Close()
	limited := func(hosts []string, url string) bool {
		seen := false
		tr := &openai.Transport{Limiter: lim, Hosts: hosts, OnAnswer: func(openai.Answer) { seen = true },
			Base: roundTripFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("no network") })}
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(request))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tr.RoundTrip(r)
		return seen
	}
	for url, want := range map[string]bool{
		"https://api.openai.com/v1/chat/completions":                    true,
		"https://API.OPENAI.COM:443/v1/chat/completions":                true,
		"https://eu.api.openai.com/v1/responses":                        true,
		"https://acme.openai.azure.com/openai/deployments/d/embeddings": true,
		"https://openai.com/v1/chat/completions":                        false,
		"https://evilapi.openai.com.example.com/v1/chat/completions":    false,
		"https://api.anthropic.com/v1/messages":                         false,
		"http://localhost:8000/v1/chat/completions":                     false,
	} {
		if got := limited(nil, url); got != want {
			t.Errorf("by default %s is limited: %v, want %v", url, got, want)
		}
	}
	for url, want := range map[string]bool{
		"http://localhost:8000/v1/chat/completions": true,
		"http://localhost:9000/v1/chat/completions": false,
		"http://vllm/v1/chat/completions":           true,
		"http://vllm:1/v1/chat/completions":         true,
		"https://a.b.example.com/v1/embeddings":     true,
		"https://example.com/v1/embeddings":         false,
		"https://api.openai.com/v1/embeddings":      false,
	} {
		if got := limited([]string{"localhost:8000", "vllm", "*.example.com"}, url); got != want {
			t.Errorf("%s is limited: %v, want %v", url, got, want)
		}
	}
}

// RoundTrip must not change the request, and the key is nobody's business.
func TestRequestIsNotChanged(t *testing.T) {
	const key = "Bearer sk-secret"
	sc := &script{steps: []http.HandlerFunc{fails(500, server, quick...)}}
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != key || len(r.Header["X-Mine"]) != 2 {
			t.Errorf("headers %v arrived", r.Header)
		}
		sc.ServeHTTP(w, r)
	})
	r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", key)
	r.Header["X-Mine"] = []string{"a", "b"}
	before, header, body := *r, r.Header.Clone(), r.Body
	resp, err := s.transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !reflect.DeepEqual(r.Header, header) || r.Body != body || r.URL != before.URL || r.ContentLength != before.ContentLength {
		t.Errorf("the request was changed")
	}
}

// Each event reaches the client before the next is sent.
func TestStreamsAreNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		for range 5 {
			stream(w, `{"choices":[{"delta":{"content":"tick"}}]}`)
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := s.do(ctx, strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 1000)
	for i := range 5 {
		if n, err := resp.Body.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("\n\n")) {
			t.Fatalf("event %d: %q, %v", i, buf[:n], err)
		}
		next <- struct{}{}
	}
}

func TestHTTP2(t *testing.T) {
	s, err := provider.StartTLS(provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, TokensPerMinute: 1_000_000}, Count: openai.Tiktoken{}.Count})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	base := s.Client()
	defer base.CloseIdleConnections()
	lim := throttle.New(memory.New(), slowQuotas())
	defer lim.Close()
	var last openai.Answer
	tr := &openai.Transport{Limiter: lim, Base: base.Transport, Hosts: []string{"127.0.0.1"}, OnAnswer: func(a openai.Answer) { last = a }}
	for _, more := range []string{`,"max_tokens":40`, `,"max_tokens":40,"stream":true,"stream_options":{"include_usage":true}`} {
		resp, err := (&http.Client{Transport: tr}).Post(s.URL+"/v1/chat/completions", "application/json", strings.NewReader(chatBody(1, more)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.ProtoMajor != 2 || !last.HasUsage || last.Used[openai.Tokens] != float64(last.Usage.Total()) {
			t.Errorf("%s: %+v", resp.Proto, last)
		}
	}
}

// A body of 50 MB, sent or received, takes no more memory than a small one.
func TestLargeBodies(t *testing.T) {
	const size = 50 << 20
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if n < size {
			t.Errorf("%d bytes arrived", n)
		}
		_, _ = io.WriteString(w, `{"data":"`)
		piece := bytes.Repeat([]byte("x"), 1<<16)
		for range size >> 16 {
			_, _ = w.Write(piece)
		}
		_, _ = io.WriteString(w, `","usage":{"prompt_tokens":9,"completion_tokens":5}}`)
	})
	parts := func() io.Reader {
		readers := []io.Reader{strings.NewReader(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,`)}
		piece := bytes.Repeat([]byte("QUJD"), 1<<14)
		for range size >> 16 {
			readers = append(readers, bytes.NewReader(piece))
		}
		return io.MultiReader(append(readers, strings.NewReader(`"}}]}],"model":"gpt-4o","max_tokens":100}`))...)
	}
	send := func(rewinds bool) {
		r, err := http.NewRequest(http.MethodPost, s.URL+"/v1/chat/completions", parts())
		if err != nil {
			t.Fatal(err)
		}
		if rewinds {
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(parts()), nil }
		}
		resp, err := s.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if a := <-s.answers; a.Used[openai.Tokens] != 14 || rewinds && a.Reserved[openai.Tokens] != 1445+4+3+100 {
			t.Errorf("rewinds %v: %+v", rewinds, a)
		}
	}
	send(true) // warm up
	for _, rewinds := range []bool{true, false} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		send(rewinds)
		runtime.ReadMemStats(&after)
		grown := (after.TotalAlloc - before.TotalAlloc) >> 10
		t.Logf("rewinds %v: %d kB allocated", rewinds, grown)
		if grown > 16<<10 {
			t.Errorf("rewinds %v: %d kB allocated for 100 MB", rewinds, grown)
		}
	}
}

func TestAzureDeployment(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":9,"completion_tokens":5}}`)
	})
	resp, err := s.client.Post(s.URL+"/openai/deployments/gpt-4o-eu/chat/completions?api-version=2024-10-21", "application/json",
		strings.NewReader(`{"messages":[{"role":"user","content":"hi"}],"max_tokens":100}`))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if a := <-s.answers; a.Model != "gpt-4o-eu" || a.Reserved[openai.Tokens] != reserved || a.Estimate.Fallback {
		t.Errorf("%+v", a)
	}
}

func TestTransportMisuse(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "https://api.openai.com/v1/chat/completions", strings.NewReader(request))
	if _, err := new(openai.Transport).RoundTrip(r); err == nil || !strings.Contains(err.Error(), "Limiter") {
		t.Errorf("without a limiter: %v", err)
	}
	lim := throttle.New(memory.New(), openai.Models(map[string]openai.Limits{"gpt-4.1": {RPM: 1}}))
	defer lim.Close()
	tr := &openai.Transport{Limiter: lim}
	r = httptest.NewRequest(http.MethodPost, "https://api.openai.com/v1/chat/completions", strings.NewReader(request))
	if _, err := tr.RoundTrip(r); !errors.Is(err, throttle.ErrUnknownModel) {
		t.Errorf("a model without limits: %v", err)
	}
}
