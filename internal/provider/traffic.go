package provider

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Consume takes requests and tokens of a model as somebody else's traffic would, all of it or nothing, and reports
// whether it fitted. On a model with Anthropic's limits the tokens are input. The next answers' headers show it.
func (p *Provider) Consume(model string, requests, tokens int64) bool {
	w := Work{Requests: requests, Tokens: tokens, InputTokens: tokens}
	return p.account(model).admit(time.Now(), admission{charge: w, background: true}).admitted
}

// Traffic is a load that comes past the client under test: a share of a model's limits that changes from time to time.
type Traffic struct {
	Model string
	// Min and Max bound the share of the limit; both zero are 0.05 and 0.40.
	Min, Max float64
	// Every is how long a share lasts; zero is a sixth of [Config.Minute].
	Every time.Duration
	// Tick is the time between two requests; zero is a hundredth of Every. Each carries the tokens of its tick.
	Tick time.Duration
	// Seed selects the shares.
	Seed uint64
}

// Run takes the traffic's share until ctx ends, which is how it is meant to end: it returns nil then, and an error at
// once where t makes no sense. What doesn't fit is refused and not tried again.
func (p *Provider) Run(ctx context.Context, t Traffic) error {
	if t.Max == 0 && t.Min == 0 {
		t.Min, t.Max = 0.05, 0.40
	}
	setDefault(&t.Every, p.cfg.Minute/6)
	setDefault(&t.Tick, t.Every/100)
	if t.Min < 0 || t.Max < t.Min || t.Tick <= 0 || t.Every < t.Tick {
		return fmt.Errorf("provider: traffic %+v: use 0 ≤ Min ≤ Max and 0 < Tick ≤ Every", t)
	}
	if t.Model == "" {
		return errors.New("provider: traffic has no model")
	}
	rng := rand.New(rand.NewPCG(t.Seed, 0))
	ticker := time.NewTicker(t.Tick)
	defer ticker.Stop()
	var owed owed
	var share float64
	var until time.Time
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		if !now.Before(until) {
			share, until = t.Min+(t.Max-t.Min)*rng.Float64(), now.Add(t.Every)
		}
		minutes := share * float64(now.Sub(last)) / float64(p.cfg.Minute)
		last = now
		if requests, tokens := owed.take(p.account(t.Model).bounds(), minutes); requests > 0 || tokens > 0 {
			p.Consume(t.Model, requests, tokens)
		}
	}
}

// owed is traffic that is due and less than a whole unit.
type owed struct{ requests, tokens float64 }

// take is what is due after another part of a minute's limits, in whole units.
func (o *owed) take(l Limits, minutes float64) (requests, tokens int64) {
	o.requests += minutes * float64(l.RequestsPerMinute)
	o.tokens += minutes * float64(max(l.TokensPerMinute, l.InputTokensPerMinute))
	requests, tokens = int64(o.requests), int64(o.tokens)
	o.requests -= float64(requests)
	o.tokens -= float64(tokens)
	return requests, tokens
}

// bounds are the limits in force.
func (a *account) bounds() Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limits
}
