package openai_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// script answers the first requests as told and all later ones with success. It keeps the bodies.
type script struct {
	mu     sync.Mutex
	steps  []http.HandlerFunc
	bodies []string
	times  []time.Time
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.bodies, s.times = append(s.bodies, string(b)), append(s.times, time.Now())
	n := len(s.bodies)
	s.mu.Unlock()
	if n <= len(s.steps) {
		s.steps[n-1](w, r)
		return
	}
	_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":9,"completion_tokens":5}}`)
}

// fails answers with an error; headers come in pairs.
func fails(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	rateLimit = `{"error":{"message":"Rate limit reached for gpt-4o","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	noQuota   = `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	server    = `{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}`
	tooLarge  = `{"error":{"message":"Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 36278.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
)

// quick is a wait that the test can afford.
var quick = []string{"Retry-After-Ms", "20"}

func TestRetries(t *testing.T) {
	limited := fails(429, rateLimit, quick...)
	for name, v := range map[string]struct {
		steps  []http.HandlerFunc
		status int
		tries  int
		body   string
		// Failed requests count as requests, their tokens don't.
		requests, tokens float64
	}{
		"rate limit":         {[]http.HandlerFunc{limited, limited, limited}, 200, 4, "prompt_tokens", 4, 14},
		"server error":       {[]http.HandlerFunc{fails(500, server, quick...), fails(503, server, quick...)}, 200, 3, "prompt_tokens", 3, 14},
		"overload":           {[]http.HandlerFunc{fails(529, server, quick...)}, 200, 2, "prompt_tokens", 2, 14},
		"timeout":            {[]http.HandlerFunc{fails(408, "", quick...), fails(409, "", quick...)}, 200, 3, "prompt_tokens", 3, 14},
		"server error stays": {slices.Repeat([]http.HandlerFunc{fails(500, server, quick...)}, 5), 500, 3, server, 3, 0},
		"quota":              {[]http.HandlerFunc{fails(429, noQuota)}, 429, 1, noQuota, 1, 0},
		"too large":          {[]http.HandlerFunc{fails(429, tooLarge)}, 429, 1, tooLarge, 1, 0},
		"bad request":        {[]http.HandlerFunc{fails(400, server)}, 400, 1, server, 1, 0},
		"unauthorized":       {[]http.HandlerFunc{fails(401, server)}, 401, 1, server, 1, 0},
		"told not to":        {[]http.HandlerFunc{fails(500, server, "X-Should-Retry", "false")}, 500, 1, server, 1, 0},
		"a long error":       {[]http.HandlerFunc{fails(400, strings.Repeat("x", 200_000))}, 400, 1, strings.Repeat("x", 200_000), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := &script{steps: v.steps}
			s := newSite(t, sc.ServeHTTP)
			status, body := s.fetch(t)
			if status != v.status || !strings.Contains(body, v.body) || len(v.body) > 1000 && body != v.body {
				t.Errorf("%d %.300s", status, body)
			}
			if len(sc.bodies) != v.tries {
				t.Errorf("sent %d times, want %d", len(sc.bodies), v.tries)
			}
			for i, b := range sc.bodies {
				if b != request {
					t.Errorf("try %d sent %q", i+1, b)
				}
			}
			s.check(t, v.requests, v.tokens)
			if a := <-s.answers; a.Tries != v.tries || a.Status != v.status {
				t.Errorf("reported %+v", a)
			}
		})
	}
}

func TestRetryOptions(t *testing.T) {
	sc := &script{steps: slices.Repeat([]http.HandlerFunc{fails(500, server, quick...)}, 9)}
	s := newSite(t, sc.ServeHTTP)
	s.transport.MaxRetries = -1
	if status, _ := s.fetch(t); status != 500 || len(sc.bodies) != 1 {
		t.Errorf("without retries: %d after %d tries", status, len(sc.bodies))
	}
	sc = &script{steps: slices.Repeat([]http.HandlerFunc{fails(500, server, quick...)}, 4)}
	s = newSite(t, sc.ServeHTTP)
	s.transport.MaxRetries = 4
	if status, _ := s.fetch(t); status != 200 || len(sc.bodies) != 5 {
		t.Errorf("with four retries: %d after %d tries", status, len(sc.bodies))
	}
	// A server that refuses for ever is given up.
	sc = &script{steps: slices.Repeat([]http.HandlerFunc{fails(429, rateLimit, "Retry-After-Ms", "1")}, 50)}
	s = newSite(t, sc.ServeHTTP)
	if status, body := s.fetch(t); status != 429 || body != rateLimit || len(sc.bodies) != 11 {
		t.Errorf("refused for ever: %d after %d tries", status, len(sc.bodies))
	}
}

// A refusal stops everybody who shares the store, for as long as it says.
func TestRefusalPausesTheFleet(t *testing.T) {
	sc := &script{steps: []http.HandlerFunc{fails(429, rateLimit, "Retry-After-Ms", "300")}}
	s := newSite(t, sc.ServeHTTP)
	store := memory.New()
	lim := throttle.New(store, slowQuotas())
	elsewhere := throttle.New(store, slowQuotas()) // another process
	defer lim.Close()
	defer elsewhere.Close()
	s.transport.Limiter = lim
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if status, _ := s.fetch(t); status != 200 {
			t.Errorf("status %d", status)
		}
	}()
	paused := func() bool {
		st, err := elsewhere.Status(t.Context(), "gpt-4o")
		return err == nil && !st.Paused.IsZero()
	}
	for !paused() && time.Since(start) < 200*time.Millisecond {
		time.Sleep(time.Millisecond) // polling, not synchronising: the test fails below if it doesn't come
	}
	if !paused() {
		t.Error("the other process is not paused")
	}
	res, err := elsewhere.Acquire(t.Context(), "gpt-4o", throttle.Usage{openai.Requests: 1})
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(start); waited < 300*time.Millisecond {
		t.Errorf("granted elsewhere after %v", waited)
	}
	if err := res.Settle(t.Context(), nil); err != nil {
		t.Error(err)
	}
	<-done
	if gap := sc.times[1].Sub(sc.times[0]); gap < 300*time.Millisecond {
		t.Errorf("tried again after %v", gap)
	}
}

func TestPauseIsCapped(t *testing.T) {
	sc := &script{steps: []http.HandlerFunc{fails(429, rateLimit, "Retry-After", "31536000000")}} // a thousand years
	s := newSite(t, sc.ServeHTTP)
	s.transport.MaxPause = 30 * time.Millisecond
	if status, _ := s.fetch(t); status != 200 || len(sc.bodies) != 2 {
		t.Errorf("%d after %d tries", status, len(sc.bodies))
	}
	// Nor does one call wait that long for a server that is down.
	sc = &script{steps: []http.HandlerFunc{fails(503, server, "Retry-After", "31536000000")}}
	s = newSite(t, sc.ServeHTTP)
	if status, _ := s.fetch(t); status != 503 {
		t.Errorf("%d", status)
	}
}

func TestRetryStopsWithTheContext(t *testing.T) {
	sc := &script{steps: slices.Repeat([]http.HandlerFunc{fails(500, server, "Retry-After", "60")}, 3)}
	s := newSite(t, sc.ServeHTTP)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.do(ctx, strings.NewReader(request)); err == nil {
		t.Fatal("no error")
	}
	s.check(t, 1, 0)
}

// Bodies that can't be rewound are sent once; those up to a megabyte are kept.
func TestRetryWithoutGetBody(t *testing.T) {
	for name, v := range map[string]struct {
		body  string
		tries int
	}{
		"short": {request, 2},
		"long":  {strings.Replace(request, `"hi"`, `"`+strings.Repeat("hello ", 200_000)+`"`, 1), 1},
	} {
		sc := &script{steps: []http.HandlerFunc{fails(500, server, quick...)}}
		s := newSite(t, sc.ServeHTTP)
		resp, err := s.do(t.Context(), io.MultiReader(strings.NewReader(v.body))) // a reader that net/http can't rewind
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if len(sc.bodies) != v.tries {
			t.Errorf("%s: sent %d times, want %d", name, len(sc.bodies), v.tries)
		}
		for _, b := range sc.bodies {
			if b != v.body {
				t.Errorf("%s: %d bytes arrived, want %d", name, len(b), len(v.body))
			}
		}
	}
}
