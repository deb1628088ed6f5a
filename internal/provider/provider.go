package provider

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Provider is the simulated API. It is an [http.Handler]; [Start] serves one. All methods may be called at any time
// from any goroutine.
type Provider struct {
	cfg   Config
	mux   *http.ServeMux
	ids   atomic.Uint64
	seen  seen
	cache promptCache

	mu       sync.RWMutex
	fallback Limits // of models without limits of their own
	accounts map[string]*account
}

// New makes a provider, or reports what is wrong with cfg.
func New(cfg Config) (*Provider, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, mux: http.NewServeMux(), fallback: cfg.Default, accounts: map[string]*account{}}
	p.cache.life = 5 * cfg.Minute
	now := time.Now()
	for model, limits := range cfg.Models {
		p.accounts[model] = newAccount(model, limits, true, cfg.Minute, now)
	}
	p.mux.HandleFunc("POST /v1/chat/completions", p.serveChat)
	p.mux.HandleFunc("POST /v1/responses", p.serveResponses)
	p.mux.HandleFunc("POST /v1/completions", p.serveCompletions)
	p.mux.HandleFunc("POST /v1/embeddings", p.serveEmbeddings)
	p.mux.HandleFunc("GET /v1/models", p.serveModels)
	p.mux.HandleFunc("POST /v1/messages", p.serveMessages)
	p.mux.HandleFunc("POST /v1/messages/count_tokens", p.serveCountTokens)
	p.mux.HandleFunc("GET /debug/stats", p.serveStats)
	p.mux.HandleFunc("/", p.serveUnknown)
	return p, nil
}

// ServeHTTP answers one API request. Where an answer ends early, by a fault or because the request's context ended, it
// panics with [http.ErrAbortHandler], which [net/http] servers understand; a recorder doesn't.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// account is the model's, made at the first request for it.
func (p *Provider) account(model string) *account {
	p.mu.RLock()
	a := p.accounts[model]
	p.mu.RUnlock()
	if a != nil {
		return a
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a = p.accounts[model]; a == nil {
		a = newAccount(model, p.fallback, false, p.cfg.Minute, time.Now())
		p.accounts[model] = a
	}
	return a
}

// each calls f for every model.
func (p *Provider) each(f func(model string, a *account)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for model, a := range p.accounts {
		f(model, a)
	}
}

// modelNames lists the models with limits of their own, sorted.
func (p *Provider) modelNames() []string {
	names := []string{}
	p.each(func(model string, a *account) {
		if a.own {
			names = append(names, model)
		}
	})
	slices.Sort(names)
	return names
}

// SetLimits changes a model's limits from now on; what is in use stays in use, and the next answer's headers state the
// new limits. An empty model changes the default, also for models already in use that have no limits of their own.
func (p *Provider) SetLimits(model string, limits Limits) error {
	if err := limits.check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if model != "" {
		a := p.accounts[model]
		if a == nil {
			a = newAccount(model, limits, true, p.cfg.Minute, now)
			p.accounts[model] = a
		}
		a.setLimits(limits, true, p.cfg.Minute, now)
		return nil
	}
	p.fallback = limits
	for _, a := range p.accounts {
		a.setLimits(limits, false, p.cfg.Minute, now)
	}
	return nil
}

// setLimits gives the account limits of its own, or the default's unless it has its own.
func (a *account) setLimits(limits Limits, own bool, minute time.Duration, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if own || !a.own {
		a.own = own
		a.resize(limits, minute, now)
	}
}

// requestID is a new x-request-id in OpenAI's form.
func (p *Provider) requestID() string {
	n := p.ids.Add(1)
	return fmt.Sprintf("req_%016x%016x", mix(p.cfg.Seed^n), n)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
