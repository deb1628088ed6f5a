package openai_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// deafTransport removes what headers say of limits.
type deafTransport struct{ http.RoundTripper }

func (d deafTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err == nil {
		for name := range resp.Header {
			if strings.HasPrefix(name, "X-Ratelimit-") {
				delete(resp.Header, name)
			}
		}
	}
	return resp, err
}

// TestBesideProduction: a batch shares a key with production traffic that passes the transport by and takes 5 to 40 % of the limit. By the
// headers alone the batch stays out of its way. (The simulated minute is four seconds long; `cd examples/sdk && go run .
// -beside` is the same for longer, with the real demands: less than one refusal in 1,000 calls, 90 % of what is left.)
func TestBesideProduction(t *testing.T) {
	for _, v := range []struct {
		name    string
		deaf    bool
		refused float64 // at most, a call
		share   float64 // at least, of what production left
	}{
		{"with headers", false, 0.002, 0.85},
		{"without headers", true, 0.25, 0.85},
	} {
		t.Run(v.name, func(t *testing.T) {
			limits := provider.Limits{RequestsPerMinute: 3000, TokensPerMinute: 200_000}
			cfg := provider.Config{
				Default: limits, Minute: 4 * time.Second,
				Latency: provider.Latency{Base: 20 * time.Millisecond, PerToken: 100 * time.Microsecond, Jitter: 0.5},
			}
			b := newBench(t, cfg, nil, func(tr *openai.Transport) {
				if v.deaf {
					tr.Base = deafTransport{tr.Base}
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			var production sync.WaitGroup
			production.Go(func() {
				if err := b.Run(ctx, provider.Traffic{Model: "gpt-4o-mini", Seed: 3}); err != nil {
					t.Error(err)
				}
			})
			start := time.Now()
			var batch sync.WaitGroup
			var next atomic.Int64
			for range 150 {
				batch.Go(func() {
					for time.Since(start) < 6*time.Second {
						_, body, err := b.post(t.Context(), "/v1/chat/completions", chatBody(int(next.Add(1)), `,"max_tokens":400`))
						if err != nil {
							t.Errorf("%v %s", err, body)
						}
					}
				})
			}
			batch.Wait()
			took := time.Since(start)
			cancel()
			production.Wait()
			s := b.Stats()["gpt-4o-mini"]
			left := float64(limits.TokensPerMinute)*(1+float64(took)/float64(cfg.Minute)) - float64(s.Background.Tokens)
			refused, share := float64(s.Rejected())/float64(s.Accepted), float64(s.Used.Tokens)/left
			t.Logf("%d calls, %d refused, %.3f of what production left; production was refused %d tokens", s.Accepted, s.Rejected(), share, s.BackgroundRefused.Tokens)
			if openai.RaceDetector {
				return
			}
			if refused > v.refused || share < v.share {
				t.Errorf("%.4f refusals a call, want at most %v; share %.3f, want at least %v", refused, v.refused, share, v.share)
			}
		})
	}
}

// A limit that the provider changes is in force after two answers at most.
func TestFollowsLimits(t *testing.T) {
	cfg := provider.Config{Default: provider.Limits{RequestsPerMinute: 1000, TokensPerMinute: 100_000}}
	for _, v := range []struct {
		follow openai.Follow
		stated []int64
		want   []float64
	}{
		{openai.FollowDown, []int64{50_000, 20_000, 100_000, 500_000}, []float64{50_000, 20_000, 100_000, 100_000}},
		{openai.FollowAlways, []int64{50_000, 500_000, 100_000}, []float64{50_000, 500_000, 100_000}},
		{openai.FollowNever, []int64{50_000, 500_000}, []float64{100_000, 100_000}},
	} {
		b := newBench(t, cfg, nil, func(tr *openai.Transport) { tr.Follow = v.follow })
		for i, limit := range v.stated {
			if err := b.SetLimits("", provider.Limits{RequestsPerMinute: 1000, TokensPerMinute: limit}); err != nil {
				t.Fatal(err)
			}
			for n := range 2 {
				if _, _, err := b.post(t.Context(), "/v1/chat/completions", chatBody(n, `,"max_tokens":10`)); err != nil {
					t.Fatal(err)
				}
			}
			st, err := b.limiter.Status(t.Context(), "gpt-4o-mini")
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range st.Buckets {
				if q.Resource == openai.Tokens && (q.Limit != v.want[i] || q.Level > limitOf(v.want[i], limit)) {
					t.Errorf("follow %v: stated %d: limit %v, level %v; want %v", v.follow, limit, q.Limit, q.Level, v.want[i])
				}
			}
		}
	}
}

// limitOf is what a level can be at most.
func limitOf(want float64, stated int64) float64 { return min(want, float64(stated)) }

// Where the user gave no limits, the first answer brings them, for every process that shares the store; until then one
// call goes ahead.
func TestDiscoversLimits(t *testing.T) {
	cfg := provider.Config{
		Default: provider.Limits{RequestsPerMinute: 40, TokensPerMinute: 100_000},
		Latency: provider.Latency{Base: 30 * time.Millisecond}, Count: openai.Tiktoken{}.Count,
	}
	store := memory.New()
	models := openai.ModelsFunc(func(string) (openai.Limits, bool) { return openai.Limits{}, true })
	b := newBench(t, cfg, models, func(tr *openai.Transport) { tr.Limiter = throttle.New(store, models) })
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	for i := range 100 {
		wg.Go(func() { _, _, _ = b.post(ctx, "/v1/chat/completions", chatBody(i, `,"max_tokens":10`)) })
	}
	wg.Wait()
	s := b.Stats()["gpt-4o-mini"]
	if s.Rejected() != 0 || s.Accepted < 35 || s.Accepted > 40 {
		t.Errorf("%d accepted, %d refused of 100 at once under a limit of 40", s.Accepted, s.Rejected())
	}
	elsewhere := throttle.New(store, models)
	defer elsewhere.Close()
	st, err := elsewhere.Status(t.Context(), "gpt-4o-mini")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, q := range st.Buckets {
		got[q.Resource] = q.Limit
	}
	if got[openai.Requests] != 40 || got[openai.Tokens] != 100_000 {
		t.Errorf("another process knows %v", got)
	}
}

// A server that states no limits has none.
func TestDiscoversNoLimits(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	lim := openai.NewLimiter(memory.New(), openai.Limits{})
	defer lim.Close()
	s.transport.Limiter = lim
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { s.fetch(t) })
	}
	wg.Wait()
	for range 50 {
		if a := <-s.answers; a.Status != 200 || a.Waited > 0 {
			t.Errorf("%+v", a)
		}
	}
}

// The probe that goes ahead may fail; the next one takes its place.
func TestProbeThatFails(t *testing.T) {
	sc := &script{steps: []http.HandlerFunc{func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}}
	s := newSite(t, sc.ServeHTTP)
	lim := openai.NewLimiter(memory.New(), openai.Limits{})
	defer lim.Close()
	s.transport.Limiter = lim
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 20 {
		wg.Go(func() {
			resp, err := s.do(t.Context(), strings.NewReader(request))
			if err != nil {
				failed.Add(1)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	wg.Wait()
	if n := failed.Load(); n != 1 {
		t.Errorf("%d of 20 failed, want one", n)
	}
}

// What requests leave open is reserved as earlier calls used it.
func TestLearnsOutput(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":8,"completion_tokens":100}}`)
	})
	var first, last openai.Answer
	for i := range 60 {
		resp, err := s.do(t.Context(), strings.NewReader(`{"model":"gpt-4o-2024-08-06","messages":[{"role":"user","content":"hi"}],"n":2}`))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if last = <-s.answers; i == 0 {
			first = last
		}
	}
	if got := first.Reserved[openai.Tokens]; got != 8+2*1024 {
		t.Errorf("at first %v reserved", got)
	}
	if got := last.Reserved[openai.Tokens]; got > 8+2*1250 || got < 8+100 {
		t.Errorf("after 60 calls of 50 tokens a choice %v reserved", got)
	}
	var c openai.Counter
	e := openai.Estimate{Model: "gpt-4o", Endpoint: openai.Responses, Input: 10, Choices: 1, Hidden: true}
	if got := c.Reserve(e); got != 10+2*1024 {
		t.Errorf("hidden input unknown: %d", got)
	}
	for range 500 {
		c.Learn(e, openai.Usage{Input: 5010, Output: 20})
	}
	if got := c.Reserve(e); got < 10+5000+20 || got > 10+6100+25 {
		t.Errorf("hidden input learned: %d", got)
	}
	c.Learn(openai.Estimate{Model: "text-embedding-3-small", Endpoint: openai.Embeddings}, openai.Usage{Input: 5})
}

func TestLimits(t *testing.T) {
	for name, v := range map[string]struct {
		limits openai.Limits
		want   string
	}{
		"usual":     {openai.Limits{RPM: 500, TPM: 30_000}, "requests 500/1m0s burst 490, tokens 30000/1m0s burst 29400"},
		"days":      {openai.Limits{RPM: 3, TPM: 40_000, RPD: 200, TPD: 1_000_000}, "requests 3/1m0s burst 2.94, tokens 40000/1m0s burst 39200, requests 200/24h0m0s burst 196, tokens 1e+06/24h0m0s burst 980000"},
		"one":       {openai.Limits{RPM: 1, TPM: openai.NoLimit}, "requests 1/1m0s burst 1"},
		"Azure":     {openai.Limits{RPM: 600, TPM: 100_000, RequestWindow: 10 * time.Second}, "requests 600/1m0s burst 98, tokens 100000/1m0s burst 98000"},
		"all burst": {openai.Limits{RPM: 500, TPM: 30_000, Burst: 1}, "requests 500/1m0s burst 500, tokens 30000/1m0s burst 30000"},
		"none":      {openai.Limits{RPM: openai.NoLimit, TPM: openai.NoLimit}, ""},
		"discover":  {openai.Limits{}, "requests 1e+12/1m0s burst 9.8e+11, tokens 1e+12/1m0s burst 9.8e+11"},
	} {
		var parts []string
		for _, q := range v.limits.Quotas() {
			parts = append(parts, fmt.Sprintf("%s %v/%v burst %.6g", q.Resource, q.Limit, q.Per, q.Burst))
		}
		if got := strings.Join(parts, ", "); got != v.want {
			t.Errorf("%s: %s, want %s", name, got, v.want)
		}
	}
}

func TestModels(t *testing.T) {
	models := openai.Models(map[string]openai.Limits{
		"gpt-4o-2024-08-06": {RPM: 500, TPM: 30_000}, openai.AnyModel: {RPM: 10, TPM: 1000},
	})
	for name, want := range map[string]throttle.Model{
		"gpt-4o": {Family: "gpt-4o", Quotas: []throttle.Quota{{Limit: 500}}}, "ft:gpt-4o:acme::1": {Family: "gpt-4o", Quotas: []throttle.Quota{{Limit: 500}}},
		"gpt-4o-mini-2024-07-18": {Family: "gpt-4o-mini", Quotas: []throttle.Quota{{Limit: 10}}},
	} {
		m, err := models(t.Context(), name)
		if err != nil || m.Family != want.Family || m.Quotas[0].Limit != want.Quotas[0].Limit || m.Counter == nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 500, TPM: 30_000})
	defer lim.Close()
	res, err := lim.AcquireFor(t.Context(), "gpt-4o", map[string]any{"model": "gpt-4o", "messages": []any{map[string]any{"role": "user", "content": "hi"}}, "max_tokens": 100}, nil)
	if err != nil || res.Reserved()[openai.Tokens] != reserved || res.Family() != "gpt-4o" {
		t.Errorf("AcquireFor: %v, %v", res.Reserved(), err)
	}
	if _, err := lim.AcquireFor(t.Context(), "gpt-4o", "not JSON", nil); err == nil {
		t.Error("AcquireFor counts what isn't a request")
	}
}
