package anthropic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
)

const model = "claude-sonnet-4-5"

// bench is a simulated provider, a limiter and a client whose transport joins them.
type bench struct {
	*provider.Server
	limiter   *throttle.Limiter
	transport *anthropic.Transport
	client    *http.Client

	mu      sync.Mutex
	answers []anthropic.Answer
}

func newBench(t *testing.T, cfg provider.Config, models throttle.Models) *bench {
	t.Helper()
	if cfg.Count == nil {
		cfg.Count = func(_, text string) int { return (len(text)*10 + 32) / 33 } // what the local rule takes for English
	}
	s, err := provider.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if models == nil {
		models = throttle.Static(quotas(cfg)...)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := s.Client()
	b := &bench{Server: s, limiter: throttle.New(memory.New(), models)}
	b.transport = &anthropic.Transport{Limiter: b.limiter, Base: base.Transport, Hosts: []string{u.Host}, Counter: &anthropic.Counter{}, OnAnswer: b.keep}
	b.client = &http.Client{Transport: b.transport}
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
	}{
		{anthropic.Requests, cfg.Default.RequestsPerMinute},
		{anthropic.InputTokens, cfg.Default.InputTokensPerMinute}, {anthropic.OutputTokens, cfg.Default.OutputTokensPerMinute},
	} {
		if q.limit > 0 {
			list = append(list, throttle.Quota{Resource: q.resource, Limit: float64(q.limit), Per: minute, Burst: 0.98 * float64(q.limit)})
		}
	}
	return list
}

func (b *bench) keep(a anthropic.Answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, a)
}

func (b *bench) last(t *testing.T) anthropic.Answer {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) == 0 {
		t.Fatal("no answer was reported")
	}
	return b.answers[len(b.answers)-1]
}

// post sends a message and reads the answer to its end.
func (b *bench) post(ctx context.Context, body string, headers ...string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.URL+"/v1/messages", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := b.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

func message(i, words, maxTokens int, more string) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":%d,"messages":[{"role":"user","content":"Question %d:%s"}]%s}`, model, maxTokens, i, strings.Repeat(" what is the airspeed of a swallow?", words), more)
}

// jitter is by how much a busy machine may shift a request in time, beside the quarter of a second that a burst of 98 % leaves
// room for. examples/sdk runs without it, and for longer.
const jitter = 100 * time.Millisecond

func TestTransportAtSaturation(t *testing.T) {
	const plenty = 100_000_000
	for name, v := range map[string]struct {
		limits           provider.Limits
		words, maxTokens int
		more             string
	}{
		"requests bind": {provider.Limits{RequestsPerMinute: 340, InputTokensPerMinute: plenty, OutputTokensPerMinute: plenty}, 1, 50, ""},
		"input binds":   {provider.Limits{RequestsPerMinute: plenty, InputTokensPerMinute: 75_000, OutputTokensPerMinute: plenty}, 20, 50, ""},
		"output binds":  {provider.Limits{RequestsPerMinute: plenty, InputTokensPerMinute: plenty, OutputTokensPerMinute: 30_000}, 1, 400, ""},
		"streams":       {provider.Limits{RequestsPerMinute: plenty, InputTokensPerMinute: plenty, OutputTokensPerMinute: 30_000}, 1, 400, `,"stream":true`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := provider.Config{
				Default: v.limits, Minute: 12 * time.Second, Tolerance: jitter,
				Latency: provider.Latency{Base: 20 * time.Millisecond, PerToken: 50 * time.Microsecond, Jitter: 0.5},
			}
			b := newBench(t, cfg, nil)
			var wg sync.WaitGroup
			for i := range 400 {
				wg.Go(func() {
					status, body, err := b.post(t.Context(), message(i, v.words, v.maxTokens, v.more))
					if err != nil || status != 200 {
						t.Errorf("call %d: %v %s", i, err, body)
					}
				})
			}
			wg.Wait()
			s := b.Stats()[model]
			ideal := s.Used.Ideal(v.limits, cfg.Minute)
			t.Logf("%d refused, ideal %v, took %.2fs, share %.3f", s.Rejected(), ideal, s.Span, ideal.Seconds()/s.Span)
			if s.Rejected() != 0 && !anthropic.RaceDetector {
				t.Errorf("refused: %v", s.Rejected429)
			}
		})
	}
}

// What is read from a cache doesn't count.
func TestCacheReadsAreFree(t *testing.T) {
	b := newBench(t, provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, InputTokensPerMinute: 1_000_000, OutputTokensPerMinute: 1_000_000}}, nil)
	cached := fmt.Sprintf(`{"model":%q,"max_tokens":10,"system":[{"type":"text","text":%q,"cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"}]}`,
		model, strings.Repeat("All that is known of swallows. ", 500))
	var used []float64
	for range 2 {
		if status, body, err := b.post(t.Context(), cached); err != nil || status != 200 {
			t.Fatalf("%d %s %v", status, body, err)
		}
		a := b.last(t)
		used = append(used, a.Used[anthropic.InputTokens])
		t.Logf("%+v reserved %v used %v", a.Usage, a.Reserved, a.Used)
	}
	if used[0] < 3000 || used[1] > 50 {
		t.Errorf("input counted as %v, want the second to be free but for its question", used)
	}
}

func TestFaults(t *testing.T) {
	cfg := provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, InputTokensPerMinute: 1_000_000, OutputTokensPerMinute: 1_000_000}}
	for fault, v := range map[provider.Fault]struct{ status, tries int }{
		provider.FaultQuota: {400, 1},
		provider.FaultCut:   {200, 1},
	} {
		b := newBench(t, cfg, nil)
		status, body, err := b.post(t.Context(), message(1, 1, 40, `,"stream":true`), provider.SimulateHeader, string(fault))
		a := b.last(t)
		if a.Status != v.status || a.Tries != v.tries {
			t.Errorf("%s: %d %.100s %v: %+v", fault, status, body, err, a)
		}
		if fault == provider.FaultCut && (a.Complete || a.Used[anthropic.InputTokens] == 0 || a.Used[anthropic.OutputTokens] > 60) {
			t.Errorf("cut: %+v", a)
		}
	}
	// 529 is tried again, and nobody else pauses for it.
	b := newBench(t, provider.Config{Default: cfg.Default, Faults: provider.Faults{Probability: map[provider.Fault]float64{provider.FaultOverloaded: 0.5}}, Seed: 1}, nil)
	b.transport.MaxRetries = 10
	b.transport.Base = hurry{b.transport.Base}
	for i := range 10 {
		if status, body, err := b.post(t.Context(), message(i, 1, 40, "")); err != nil || status != 200 {
			t.Errorf("%d %s %v", status, body, err)
		}
	}
	st, err := b.limiter.Status(t.Context(), model)
	if err != nil || !st.Paused.IsZero() {
		t.Errorf("paused until %v, %v", st.Paused, err)
	}
	tries := 0
	for _, a := range b.answers {
		tries += a.Tries
	}
	if tries < 12 {
		t.Errorf("%d tries for ten calls: nothing was overloaded", tries)
	}
}

// hurry lets retries come at once.
type hurry struct{ http.RoundTripper }

func (h hurry) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := h.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode >= 500 {
		resp.Header.Set("Retry-After-Ms", "1")
	}
	return resp, err
}

func TestDiscoversLimits(t *testing.T) {
	cfg := provider.Config{Default: provider.Limits{RequestsPerMinute: 40, InputTokensPerMinute: 50_000, OutputTokensPerMinute: 8_000}, Latency: provider.Latency{Base: 20 * time.Millisecond}}
	b := newBench(t, cfg, anthropic.ModelsFunc(func(string) (anthropic.Limits, bool) { return anthropic.Limits{}, true }))
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for i := range 100 {
		wg.Go(func() { _, _, _ = b.post(ctx, message(i, 1, 10, "")) })
	}
	wg.Wait()
	if s := b.Stats()[model]; s.Rejected() != 0 || s.Accepted < 30 || s.Accepted > 40 {
		t.Errorf("%d accepted, %v refused of 100 at once under a limit of 40", s.Accepted, s.Rejected429)
	}
	st, err := b.limiter.Status(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	var limits []float64
	for _, q := range st.Buckets {
		limits = append(limits, q.Limit)
	}
	slices.Sort(limits)
	if !slices.Equal(limits, []float64{40, 8_000, 50_000}) || st.Family != "claude-sonnet-4" {
		t.Errorf("%s: limits %v", st.Family, limits)
	}
}

func TestCountTokensEndpoint(t *testing.T) {
	b := newBench(t, provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, InputTokensPerMinute: 1_000_000, OutputTokensPerMinute: 1_000_000}, APIKey: "sk-ant",
		Count: func(_, text string) int { return len(text) }}, nil)
	b.transport.CountTokens = true
	var asked atomic.Int64
	base := b.transport.Base
	b.transport.Base = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/count_tokens") {
			asked.Add(1)
			body, _ := io.ReadAll(r.Body)
			if strings.Contains(string(body), "max_tokens") || strings.Contains(string(body), "stream") {
				t.Errorf("asked with %s", body)
			}
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		return base.RoundTrip(r)
	})
	if status, body, err := b.post(t.Context(), message(1, 3, 40, `,"stream":true`), "X-Api-Key", "sk-ant"); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	a := b.last(t)
	if asked.Load() != 1 || !a.Estimate.Exact || float64(a.Estimate.Input) != a.Used[anthropic.InputTokens] || a.Reserved[anthropic.InputTokens] != a.Used[anthropic.InputTokens] {
		t.Errorf("asked %d times: %+v", asked.Load(), a)
	}
	// Where it can't be asked, the local estimate stands.
	if _, _, err := b.post(t.Context(), message(1, 3, 40, "")); err != nil {
		t.Fatal(err)
	}
	if a := b.last(t); a.Estimate.Exact || a.Estimate.Input == 0 || a.Status != 401 {
		t.Errorf("%+v", a)
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The local estimate comes closer to what is charged with each call.
func TestLearnsTheVocabulary(t *testing.T) {
	b := newBench(t, provider.Config{Default: provider.Limits{RequestsPerMinute: 10_000, InputTokensPerMinute: 100_000_000, OutputTokensPerMinute: 10_000_000},
		Count: func(_, text string) int { return len(text) / 2 }}, nil)
	for i := range 60 {
		if _, _, err := b.post(t.Context(), message(i, 10, 30, "")); err != nil {
			t.Fatal(err)
		}
	}
	a := b.last(t)
	if got, want := a.Reserved[anthropic.InputTokens], a.Used[anthropic.InputTokens]; got < want || got > 1.25*want {
		t.Errorf("%v reserved, %v charged", got, want)
	}
	if got := a.Reserved[anthropic.OutputTokens]; got > 30 {
		t.Errorf("%v output reserved, more than max_tokens", got)
	}
}

func TestPassesOthers(t *testing.T) {
	b := newBench(t, provider.Config{}, anthropic.Models(map[string]anthropic.Limits{"claude-sonnet-4-5": {RPM: 10, ITPM: 1000, OTPM: anthropic.NoLimit}}))
	for _, path := range []string{"/v1/messages/batches", "/v1/messages/count_tokens", "/v1/models"} {
		resp, err := b.client.Post(b.URL+path, "application/json", strings.NewReader(message(1, 1, 10, "")))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if len(b.answers) != 0 {
		t.Errorf("limited: %+v", b.answers)
	}
	lim := anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 50, ITPM: 30_000, OTPM: 8_000})
	defer lim.Close()
	res, err := lim.AcquireFor(t.Context(), "claude-opus-4-1", message(1, 1, 40, ""), nil)
	if err != nil || res.Family() != "claude-opus-4" || res.Reserved()[anthropic.OutputTokens] != 40 {
		t.Errorf("AcquireFor: %v, %v", res, err)
	}
	if _, err := lim.AcquireFor(t.Context(), "claude-opus-4-1", "not JSON", nil); err == nil {
		t.Error("AcquireFor counts what isn't a request")
	}
}
