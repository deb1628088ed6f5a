package provider

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestConsumeShowsInTheHeadersAndNotInTheCounts(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 10, TokensPerMinute: 1000}})
	if !p.Consume("gpt-4o", 4, 600) {
		t.Fatal("refused within the limits")
	}
	if p.Consume("gpt-4o", 1, 500) {
		t.Error("600 + 500 of 1000 tokens were admitted")
	}
	res := call(t, p, "/v1/chat/completions", chatBody("hello", `,"max_tokens":10`))
	wantHeader(t, res, "x-ratelimit-remaining-requests", "5")
	wantHeader(t, res, "x-ratelimit-remaining-tokens", "381")
	s := p.Stats()["gpt-4o"]
	if s.Accepted != 1 || s.Background.Tokens != 600 || s.Background.Requests != 4 || s.BackgroundRefused.Tokens != 500 {
		t.Errorf("stats %+v", s)
	}
}

func TestTrafficTakesAVaryingShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 600, TokensPerMinute: 60_000}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx, Traffic{Model: "m"}) }()
		var shares []float64
		var before int64
		for range 60 {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			now := p.Stats()["m"].Background.Tokens
			shares = append(shares, float64(now-before)/10_000)
			before = now
		}
		lo, hi := 1.0, 0.0
		for _, s := range shares {
			lo, hi = min(lo, s), max(hi, s)
		}
		if lo < 0.05-0.001 || hi > 0.40+0.001 || hi-lo < 0.2 {
			t.Errorf("shares from %.3f to %.3f, want most of 0.05 to 0.40", lo, hi)
		}
		s := p.Stats()["m"]
		if s.BackgroundRefused != (Work{}) {
			t.Errorf("refused %+v with nobody else there", s.BackgroundRefused)
		}
		if ratio := float64(s.Background.Tokens) / float64(s.Background.Requests); ratio < 95 || ratio > 105 {
			t.Errorf("%v tokens a request, want those of the limits: 100", ratio)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func TestTrafficErrors(t *testing.T) {
	p := newProvider(t, Config{})
	for _, bad := range []Traffic{{}, {Model: "m", Min: 0.5, Max: 0.4}, {Model: "m", Every: time.Second, Tick: time.Minute}} {
		if err := p.Run(t.Context(), bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}
