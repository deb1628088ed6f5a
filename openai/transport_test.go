package openai_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// bench is a simulated provider, a limiter and a client whose transport joins them.
type bench struct {
	*provider.Server
	limiter *throttle.Limiter
	client  *http.Client
	counter *openai.Counter

	mu      sync.Mutex
	answers []openai.Answer
}

// newBench starts a provider; its limits hold for the limiter too, with a burst a little smaller, unless models says
// otherwise. Everything ends with the test.
func newBench(t *testing.T, cfg provider.Config, models throttle.Models, adjust func(*openai.Transport)) *bench {
	t.Helper()
	counter := &openai.Counter{}
	if cfg.Count == nil {
		cfg.Count = openai.Tiktoken{}.Count
	}
	s, err := provider.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if models == nil {
		models = throttle.Static(quotas(cfg)...)
	}
	b := &bench{Server: s, limiter: throttle.New(memory.New(), models), counter: counter}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := s.Client()
	tr := &openai.Transport{Limiter: b.limiter, Base: base.Transport, Hosts: []string{u.Host}, Counter: counter, OnAnswer: b.keep}
	if adjust != nil {
		adjust(tr)
	}
	b.client = &http.Client{Transport: tr}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		if err := b.limiter.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// quotas are the provider's default limits, in its own minute.
func quotas(cfg provider.Config) []throttle.Quota {
	minute := cfg.Minute
	if minute == 0 {
		minute = time.Minute
	}
	var list []throttle.Quota
	for _, q := range []struct {
		resource string
		limit    int64
		per      time.Duration
	}{
		{openai.Requests, cfg.Default.RequestsPerMinute, minute}, {openai.Tokens, cfg.Default.TokensPerMinute, minute},
		{openai.Requests, cfg.Default.RequestsPerDay, 1440 * minute},
	} {
		if q.limit > 0 {
			list = append(list, throttle.Quota{Resource: q.resource, Limit: float64(q.limit), Per: q.per, Burst: 0.98 * float64(q.limit)})
		}
	}
	return list
}

func (b *bench) keep(a openai.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, a)
}

// last is the answer reported last; nothing may be under way.
func (b *bench) last(t *testing.T) openai.Answer {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) == 0 {
		t.Fatal("no answer was reported")
	}
	return b.answers[len(b.answers)-1]
}

// post sends a request and reads the answer to its end.
func (b *bench) post(ctx context.Context, path, body string, headers ...string) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp, answer, err
}

func chatBody(i int, more string) string {
	return fmt.Sprintf(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Question %d: what is the airspeed of an unladen swallow?"}]%s}`, i, more)
}

// jitter is by how much a busy machine may shift a request in time, beside the quarter of a second that a burst of 98 % leaves
// room for. examples/sdk runs without it, and for longer.
const jitter = 100 * time.Millisecond

func TestTransportAtSaturation(t *testing.T) {
	for name, v := range map[string]struct {
		limits provider.Limits
		more   string
		calls  int
	}{
		"requests bind": {provider.Limits{RequestsPerMinute: 340, TokensPerMinute: 10_000_000}, `,"max_tokens":50`, 400},
		"tokens bind":   {provider.Limits{RequestsPerMinute: 100_000, TokensPerMinute: 36_000}, `,"max_tokens":400`, 400},
		"streams":       {provider.Limits{RequestsPerMinute: 100_000, TokensPerMinute: 36_000}, `,"max_tokens":400,"stream":true,"stream_options":{"include_usage":true}`, 400},
		"no maximum":    {provider.Limits{RequestsPerMinute: 100_000, TokensPerMinute: 75_000}, ``, 400},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := provider.Config{
				Default: v.limits, Minute: 12 * time.Second, Tolerance: jitter,
				Latency: provider.Latency{Base: 20 * time.Millisecond, PerToken: 50 * time.Microsecond, Jitter: 0.5},
			}
			b := newBench(t, cfg, nil, nil)
			var wg sync.WaitGroup
			for i := range v.calls {
				wg.Go(func() {
					resp, body, err := b.post(t.Context(), "/v1/chat/completions", chatBody(i, v.more))
					if err != nil || resp.StatusCode != 200 {
						t.Errorf("call %d: %v %s", i, err, body)
					}
				})
			}
			wg.Wait()
			s := b.Stats()["gpt-4o-mini"]
			ideal := s.Used.Ideal(v.limits, cfg.Minute)
			share := ideal.Seconds() / s.Span
			t.Logf("%d refused, ideal %v, took %.2fs, share %.3f", s.Rejected(), ideal, s.Span, share)
			if openai.RaceDetector {
				return
			}
			if s.Rejected() != 0 {
				t.Errorf("refused: %v", s.Rejected429)
			}
			if share < 0.7 { // so short a run ends with reservations for which little is left; examples/sdk runs longer
				t.Errorf("took %.2fs, %v would do", s.Span, ideal)
			}
		})
	}
}
