package provider

import (
	"encoding/json"
	"net/http"
	"time"
)

// Stats is what a model was asked and what it let through. The JSON form is what GET /debug/stats answers.
type Stats struct {
	// Accepted counts the requests that were admitted, also those that a fault spoiled later.
	Accepted int64 `json:"accepted"`
	// Rejected429 counts refusals by the limit that refused ("requests/minute", "tokens/day"), "too_large" for a
	// request that no wait would have helped. The ones that a fault made up are under Faults only.
	Rejected429 map[string]int64 `json:"rejected_429"`
	// Faults counts the faults served.
	Faults map[Fault]int64 `json:"faults"`
	// Invalid counts requests answered 400.
	Invalid int64 `json:"invalid"`
	// Canceled counts accepted requests whose client went away before the answer was complete.
	Canceled int64 `json:"canceled"`
	// InFlight counts accepted requests that are not complete.
	InFlight int64 `json:"in_flight"`

	// Charged is what accepted requests were charged when they arrived, Used what the complete ones used.
	Charged Work `json:"charged"`
	Used    Work `json:"used"`

	// FirstAccept and LastAccept bound the accepted requests; zero when there is none.
	FirstAccept time.Time `json:"first_accept"`
	LastAccept  time.Time `json:"last_accept"`
	// Span is the time between them in seconds: what [Ideal] is compared with.
	Span float64 `json:"span_seconds"`

	// DistinctRequestIDs counts the different ids of accepted requests: the caller's X-Client-Request-Id or
	// Idempotency-Key, else the id issued here.
	DistinctRequestIDs int `json:"distinct_request_ids"`
	// DistinctBodies counts the different bodies of accepted requests; streaming or not is no difference.
	DistinctBodies int `json:"distinct_bodies"`

	// Background is what [Provider.Consume] got, BackgroundRefused what it asked in vain. Neither is in the counts
	// above; both are in Windows.
	Background        Work `json:"background"`
	BackgroundRefused Work `json:"background_refused"`

	// Limits are the ones in force.
	Limits Limits `json:"limits"`
	// Windows is the audit of each limit in force, named like "tokens/minute".
	Windows map[string]Window `json:"windows"`
}

// Rejected is the number of refusals for any reason.
func (s Stats) Rejected() int64 {
	var n int64
	for _, c := range s.Rejected429 {
		n += c
	}
	return n
}

// Window is what was let through of one limit, counted apart from the meters that enforce it. Charges count when they
// are made and corrections when they are made.
type Window struct {
	Limit int64 `json:"limit"`
	Burst int64 `json:"burst"`
	// PeakMinute is the most in any one minute. Starting unused, burst + one minute's refill is allowed: twice the limit.
	PeakMinute int64 `json:"peak_minute"`
	// PeakAllowed is that bound.
	PeakAllowed int64 `json:"peak_allowed"`
	// Heaviest is the most that any interval of whatever length held beyond rate · length. Burst is allowed.
	Heaviest float64 `json:"heaviest"`
	// Violations counts the requests at whose admission some interval held more than burst + rate · length.
	Violations int64 `json:"violations"`
}

// tally is the counting behind Stats.
type tally struct {
	stats       Stats
	ids, bodies map[uint64]struct{}
}

func (t *tally) init() {
	t.stats.Rejected429 = map[string]int64{}
	t.stats.Faults = map[Fault]int64{}
	t.ids, t.bodies = map[uint64]struct{}{}, map[uint64]struct{}{}
}

func (t *tally) accept(now time.Time, ad admission) {
	s := &t.stats
	if ad.background {
		s.Background = s.Background.plus(ad.charge)
		return
	}
	s.Accepted++
	s.InFlight++
	s.Charged = s.Charged.plus(ad.charge)
	if s.FirstAccept.IsZero() {
		s.FirstAccept = now
	}
	s.LastAccept = now
	t.ids[ad.id] = struct{}{}
	t.bodies[ad.body] = struct{}{}
}

func (t *tally) refuse(v verdict, ad admission) {
	switch {
	case ad.background:
		t.stats.BackgroundRefused = t.stats.BackgroundRefused.plus(ad.charge)
	case v.tooLarge:
		t.stats.Rejected429["too_large"]++
	default:
		t.stats.Rejected429[v.quota.String()]++
	}
}

func (t *tally) settle(used Work) {
	t.stats.InFlight--
	t.stats.Used = t.stats.Used.plus(used)
}

// snapshot is a copy that shares nothing with the account.
func (a *account) snapshot() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.tally.stats
	s.Rejected429 = copyCounts(s.Rejected429)
	s.Faults = copyCounts(s.Faults)
	s.Span = s.LastAccept.Sub(s.FirstAccept).Seconds()
	s.DistinctRequestIDs, s.DistinctBodies = len(a.tally.ids), len(a.tally.bodies)
	s.Limits = a.limits
	s.Windows = map[string]Window{}
	for q := range a.audit {
		series, q := &a.audit[q], quota(q)
		limit := q.limit(a.limits)
		if limit == 0 {
			continue
		}
		burst := q.burst(a.limits)
		s.Windows[q.String()] = Window{
			Limit:       int64(limit),
			Burst:       int64(burst),
			PeakMinute:  int64(series.peak),
			PeakAllowed: int64(burst + series.rate*float64(series.window)),
			Heaviest:    series.heaviest,
			Violations:  series.violations,
		}
	}
	return s
}

func copyCounts[K comparable](m map[K]int64) map[K]int64 {
	c := make(map[K]int64, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

// Stats is the state of every model that was asked for or has limits, by name.
func (p *Provider) Stats() map[string]Stats {
	all := map[string]Stats{}
	p.each(func(model string, a *account) { all[model] = a.snapshot() })
	return all
}

// serveStats answers GET /debug/stats.
func (p *Provider) serveStats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// The client may be gone; there is nobody left to tell.
	_ = enc.Encode(map[string]any{"models": p.Stats()})
}
