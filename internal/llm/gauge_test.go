package llm

import (
	"math"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
)

var tokensAMinute = []throttle.Quota{{Resource: "tokens", Limit: 60_000, Per: time.Minute, Burst: 58_800}}

// state makes a statement of 60,000 tokens a minute.
func state(remaining float64) []Stated {
	return []Stated{{Resource: "tokens", Limit: Limit{Limit: 60_000, Remaining: remaining, HasRemaining: true}}}
}

// TestGaugeFollowsOthers runs a provider, this program and others in virtual time. The provider's remainder, as it was when
// a call was admitted, arrives with the answer; what the gauge makes of it must stay close to what remains then, and not
// above it for long.
func TestGaugeFollowsOthers(t *testing.T) {
	const (
		tick    = 10 * time.Millisecond
		limit   = 60_000.0
		rate    = limit / 60
		cost    = 100.0
		latency = 100 // ticks
	)
	for _, others := range []float64{0, 0.05 * rate, 0.4 * rate} {
		g := newGauge()
		now := time.Unix(0, 0)
		remaining := limit / 2 // at the provider, whose bucket isn't full
		budget := 0.0          // of this program: what others leave
		type call struct {
			snapshot
			remaining float64
		}
		var flight []call
		worst, lowest := math.Inf(-1), math.Inf(1)
		for i := range 6000 {
			now = now.Add(tick)
			remaining = min(limit, remaining+(rate-others)*tick.Seconds())
			if budget += (rate - others) * tick.Seconds(); budget >= cost {
				budget -= cost
				g.used(throttle.Usage{"tokens": cost}, 1)
				sent := g.snapshot(now)
				remaining -= cost
				flight = append(flight, call{sent, remaining})
			}
			for len(flight) > 0 && now.Sub(flight[0].at) >= latency*tick {
				c := flight[0]
				flight = flight[1:]
				for _, o := range g.observe(tokensAMinute, c.snapshot, now, state(c.remaining), FollowDown) {
					if i > 2000 { // once the average has settled
						worst, lowest = max(worst, o.Remaining-remaining), min(lowest, o.Remaining-remaining)
					}
				}
			}
		}
		t.Logf("others use %v a second: between %.0f below and %.0f above what remains", others, -lowest, worst)
		if worst > 0 || lowest < -0.06*limit {
			t.Errorf("others use %v a second: the level comes to between %.0f and %.0f of what remains", others, lowest, worst)
		}
	}
}

// A burst's calls overtake each other, so that an early one may be admitted last. That must not look like a debt.
func TestGaugeInABurst(t *testing.T) {
	g := newGauge()
	start := time.Unix(0, 0)
	first := g.snapshot(start)
	g.used(throttle.Usage{"tokens": 50_000}, 1) // five hundred more, all admitted before it
	now := start.Add(300 * time.Millisecond)
	for _, o := range g.observe(tokensAMinute, first, now, state(9_900), FollowDown) {
		if o.Remaining < 8_000 || o.Remaining > 10_000 {
			t.Errorf("of 9,900 remaining the gauge makes %v", o.Remaining)
		}
	}
}

// What came back since a statement was made is there on top of it.
func TestGaugeKnowsRefunds(t *testing.T) {
	g := newGauge()
	start := time.Unix(0, 0)
	g.used(throttle.Usage{"tokens": 40_000}, 1)
	sent := g.snapshot(start)
	g.used(throttle.Usage{"tokens": 30_000}, -1)
	for _, o := range g.observe(tokensAMinute, sent, start.Add(time.Second), state(20_000), FollowDown) {
		if math.Abs(o.Remaining-(20_000+30_000+1_000-1_200)) > 1 {
			t.Errorf("the gauge makes it %v", o.Remaining)
		}
	}
	// An answer that was overtaken says nothing new.
	if list := g.observe(tokensAMinute, snapshot{at: start.Add(-time.Second)}, start.Add(2*time.Second), state(100), FollowDown); len(list) != 0 {
		t.Errorf("an old statement became %v", list)
	}
}

func TestQuotaFor(t *testing.T) {
	minute := throttle.Quota{Resource: "requests", Limit: 500, Per: time.Minute}
	day := throttle.Quota{Resource: "requests", Limit: 10_000, Per: 24 * time.Hour}
	both, onlyDay := []throttle.Quota{minute, day}, []throttle.Quota{day}
	stated := func(limit, remaining float64, reset time.Duration) Stated {
		return Stated{Resource: "requests", Limit: Limit{Limit: limit, Remaining: remaining, HasRemaining: true, Reset: reset}}
	}
	for name, v := range map[string]struct {
		quotas []throttle.Quota
		stated Stated
		want   time.Duration // 0: none
	}{
		"a minute by its reset":        {both, stated(500, 400, 12*time.Second), time.Minute},
		"a day by its reset":           {both, stated(10_000, 9_000, 8640*time.Second), 24 * time.Hour},
		"a day's without a quota":      {[]throttle.Quota{minute}, stated(200, 199, 432*time.Second), 0},
		"a minute's without a quota":   {onlyDay, stated(500, 400, 12*time.Second), 0},
		"by its limit":                 {both, stated(10_000, 10_000, 0), 24 * time.Hour},
		"by nothing":                   {both, stated(3_000, 3_000, 0), time.Minute},
		"by nothing, and no short one": {onlyDay, stated(3_000, 3_000, 0), 0},
		"of a resource nobody limits":  {both, Stated{Resource: "tokens", Limit: Limit{Limit: 5}}, 0},
		"changed at run time":          {both, stated(250, 100, 36*time.Second), time.Minute},
	} {
		q, ok := quotaFor(v.quotas, v.stated)
		if ok != (v.want > 0) || q.Per != v.want && ok {
			t.Errorf("%s: %v, %v", name, q.Per, ok)
		}
	}
}
