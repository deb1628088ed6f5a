// Package security tries what docs/security.md says that nobody can do.
package security

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// wait is how long anything here may take before it counts as hanging.
const wait = 30 * time.Second

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

// Neither a log at its most talkative, nor an error, nor a metric or span, nor the page shows what was asked, with which
// key.
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
				said := calls(t, handler, body, nil, throttle.Flow("batch", 1))
				for where, text := range said {
					if at := strings.Index(text, secret); at >= 0 {
						t.Errorf("%s tells of the secret: …%s…", where, text[max(0, at-200):min(len(text), at+100)])
					}
				}
				if !strings.Contains(said[defaultLog], "not limited") {
					t.Errorf("nothing warns of a host that isn't limited: %q", said[defaultLog])
				}
				if what == "good" && !strings.Contains(said[otelSpans], "throttle.wait") {
					t.Errorf("no call has stood in line: %s", said[otelSpans])
				}
				if what != "cut off" && what != "no JSON" && !strings.Contains(said[page], "requests") {
					t.Errorf("the page says %s", said[page])
				}
			})
		}
	}
}

// The test above would see a secret wherever one is told of: by a hook that tells what it must not, and in the names of a
// model and a flow, which are no secrets and are shown.
func TestATellingHookIsSeen(t *testing.T) {
	body := func(model string) string {
		return `{"model":"` + model + `","max_tokens":5,"messages":[{"role":"user","content":"x"}]}`
	}
	telling := &throttle.Hooks{Acquired: func(ctx context.Context, _ throttle.AcquiredInfo) {
		slog.InfoContext(ctx, "acquired", "request", ctx.Value(requestKey{}))
	}}
	for what, c := range map[string]struct {
		body  string
		hooks *throttle.Hooks
		flow  string
		where []string
	}{
		"a hook that logs the request": {body("m"), telling, "batch", []string{defaultLog}},
		"a model":                      {body(secret), nil, "batch", []string{hookLog, onAnswer, prometheusMetrics, otelMetrics, otelSpans, page}},
		"a flow":                       {body("m"), nil, secret, []string{hookLog, otelSpans}},
		"no such model":                {body("unknown " + secret), nil, "batch", []string{errorTexts}},
	} {
		said := calls(t, answers["an answer"], c.body, c.hooks, throttle.Flow(c.flow, 1))
		for _, where := range c.where {
			if !strings.Contains(said[where], secret) {
				t.Errorf("%s: %s isn't seen to tell of it: %s", what, where, said[where])
			}
		}
	}
}

// calls makes calls with a secret in the body, the headers and the URL through both transports, to a host that is limited
// and to one that isn't, and returns what was then to be read, by where.
func calls(t *testing.T, handler http.HandlerFunc, body string, hooks *throttle.Hooks, options ...throttle.CallOption) map[string]string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.Start()
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	o := watch(t)
	watched := throttle.WithHooks(throttle.JoinHooks(o.hooks, hooks))
	known := throttle.Models(func(ctx context.Context, model string) (throttle.Model, error) {
		if strings.HasPrefix(model, "unknown") {
			return throttle.Model{}, fmt.Errorf("%q: %w", model, throttle.ErrUnknownModel)
		}
		return openai.Models(map[string]openai.Limits{"*": {RPM: 100, TPM: 1000}})(ctx, model)
	})
	limits := throttle.New(memory.New(), known, watched)
	others := anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 100, ITPM: 1000, OTPM: 1000}, watched)
	defer limits.Close()
	defer others.Close()
	for _, l := range []*throttle.Limiter{limits, others} {
		o.export(t, l)
	}
	called := func(*http.Request) []throttle.CallOption { return options }
	send := func(transport http.RoundTripper, path string, within func(context.Context) (context.Context, func())) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		defer time.AfterFunc(time.Second, cancel).Stop() // a refusal may be tried again for long
		ctx, end := within(ctx)
		defer end()
		// Gemini takes its key in the URL, and so do gateways before Azure.
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+path+"?api-version=1&key="+secret+"&api-key="+secret, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r = r.WithContext(context.WithValue(ctx, requestKey{}, r.URL.String()))
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("X-Api-Key", secret)
		r.Header.Set("Api-Key", secret)
		resp, err := transport.RoundTrip(r)
		o.tell(err)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			o.tell(err)
			o.tell(resp.Body.Close())
		}
	}
	post := func(hosts []string, span func(context.Context) (context.Context, func())) {
		send(&openai.Transport{Limiter: limits, Hosts: hosts, MaxRetries: -1, CallOptions: called, OnAnswer: func(a openai.Answer) { o.say(onAnswer, a) }}, "/v1/chat/completions", span)
		send(&anthropic.Transport{Limiter: others, Hosts: hosts, MaxRetries: -1, CallOptions: called, OnAnswer: func(a anthropic.Answer) { o.say(onAnswer, a) }}, "/v1/messages", span)
	}
	post([]string{host}, o.span)
	post(nil, o.span) // the default hosts: this one is a stranger
	for _, l := range []*throttle.Limiter{limits, others} {
		if err := l.Record(t.Context(), "m", throttle.Usage{"requests": 200}); err != nil {
			t.Fatal(err)
		}
	}
	post([]string{host}, func(ctx context.Context) (context.Context, func()) { // which stands in line, and gives up
		ctx, end := o.span(ctx)
		ctx, cancel := context.WithCancel(ctx)
		stop := time.AfterFunc(10*time.Millisecond, cancel)
		return ctx, func() { stop.Stop(); cancel(); end() }
	})
	return o.read(t)
}

// requestKey is where a hook finds a request's URL, whose author has put it there.
type requestKey struct{}
