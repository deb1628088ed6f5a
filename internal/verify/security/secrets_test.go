// Package security tries what docs/security.md says that nobody can do.
package security

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

// What must not be seen anywhere: it stands in the request, its headers and its URL, and in what is answered.
const secret = "zebra-7731"

// answers are what a provider may say to a request with a secret in it: what is good, what is refused, what is broken.
var answers = map[string]http.HandlerFunc{
	"an answer": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"choices":[{"message":{"content":%q}}],"usage":{"prompt_tokens":5,"completion_tokens":7,"input_tokens":5,"output_tokens":7}}`, secret)
	},
	"a stream": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\ndata: {%s\n\ndata: [DONE]\n\n", secret, secret)
	},
	"a refusal for ever": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprintf(w, `{"error":{"code":"insufficient_quota","message":%q}}`, secret)
	},
	"a bad request": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"error":{"message":%q}}`, secret)
	},
	"absurd headers": func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range []string{"x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "anthropic-ratelimit-requests-limit", "Retry-After"} {
			w.Header().Set(h, secret)
		}
		fmt.Fprint(w, secret)
	},
	"no answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
}

// log gathers all that is said.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Neither a log at its most talkative, nor an error, nor a metric, nor the page shows what was asked, with which key.
func TestNothingTellsOfPromptsOrKeys(t *testing.T) {
	bodies := map[string]string{
		"good":         `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"` + secret + `"}]}`,
		"a stream":     `{"model":"m","stream":true,"max_tokens":5,"messages":[{"role":"user","content":"` + secret + `"}]}`,
		"cut off":      `{"model":"m","messages":[{"role":"user","content":"` + secret,
		"no JSON":      secret,
		"not a number": `{"model":"m","max_tokens":"` + secret + `","messages":"` + secret + `"}`,
		"too large":    `{"model":"m","max_tokens":99999999,"messages":[{"role":"user","content":"` + secret + `"}]}`,
	}
	for answer, handler := range answers {
		for what, body := range bodies {
			t.Run(answer+"/"+what, func(t *testing.T) {
				server := httptest.NewUnstartedServer(handler)
				server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
				server.Start()
				defer server.Close()
				host := strings.TrimPrefix(server.URL, "http://")
				said := &log{}
				reg := promclient.NewRegistry()
				hooks := throttle.WithHooks(throttle.SlogHooks(slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))))
				limits := openai.NewLimiter(memory.New(), openai.Limits{RPM: 100, TPM: 1000}, hooks)
				others := anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 100, ITPM: 1000, OTPM: 1000}, hooks)
				defer limits.Close()
				defer others.Close()
				if err := throttleprom.Register(reg, limits, nil); err != nil {
					t.Fatal(err)
				}
				page := throttlehttp.Handler(limits, nil)
				defer page.Close()
				tell := func(err error) {
					var unwrapped error
					if err != nil {
						unwrapped = errors.Unwrap(err)
					}
					fmt.Fprintf(said, "%v %+v %v\n", err, err, unwrapped)
				}
				for path, transport := range map[string]http.RoundTripper{
					"/v1/chat/completions": &openai.Transport{Limiter: limits, Hosts: []string{host}, MaxRetries: -1, OnAnswer: func(a openai.Answer) { fmt.Fprintf(said, "%+v\n", a) }},
					"/v1/messages":         &anthropic.Transport{Limiter: others, Hosts: []string{host}, MaxRetries: -1, OnAnswer: func(a anthropic.Answer) { fmt.Fprintf(said, "%+v\n", a) }},
				} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second) // a refusal may be tried again for long
					defer cancel()
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Authorization", "Bearer "+secret)
					r.Header.Set("X-Api-Key", secret)
					resp, err := transport.RoundTrip(r)
					tell(err)
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						tell(err)
						tell(resp.Body.Close())
					}
				}
				families, err := reg.Gather()
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprint(said, families)
				shown := httptest.NewRecorder()
				page.ServeHTTP(shown, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?json", nil))
				if shown.Code != http.StatusOK || !strings.Contains(shown.Body.String(), "requests") && what != "cut off" && what != "no JSON" {
					t.Errorf("the page says %d: %s", shown.Code, shown.Body)
				}
				fmt.Fprint(said, shown.Body)
				if text := said.text.String(); strings.Contains(text, secret) {
					at := strings.Index(text, secret)
					t.Errorf("the secret is told of: …%s…", text[max(0, at-200):min(len(text), at+100)])
				}
			})
		}
	}
}

// The test above would see a secret that was told of.
func TestATellingHookIsSeen(t *testing.T) {
	said := &log{}
	slog.New(slog.NewTextHandler(said, nil)).Info("a call", "body", "x "+secret)
	if !strings.Contains(said.text.String(), secret) {
		t.Error("the log didn't take the secret")
	}
}

// wait is how long anything here may take before it counts as hanging.
const wait = 30 * time.Second
