package provider

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The waits that OpenAI stated in real refusals, with the numbers it stated beside them.
func TestWaitIsWhatOpenAIStates(t *testing.T) {
	for _, tt := range []struct {
		source             string
		limit, used, asked float64
		window, want       time.Duration
	}{
		{"FoundationAgents/MetaGPT issue 523", 10000, 8554, 3082, time.Minute, 9816 * time.Millisecond},
		{"BuilderIO/micro-agent issue 86", 30000, 29937, 385, time.Minute, 644 * time.Millisecond},
		{"semanser/codel issue 72", 30000, 14567, 24754, time.Minute, 18642 * time.Millisecond},
		{"gitlab.com/wally-the-wobot/wally issue 62", 10000, 8782, 8172, time.Minute, 41724 * time.Millisecond},
		{"it fits", 100, 50, 50, time.Minute, 0},
	} {
		m := meter{limit: tt.limit, burst: tt.limit, window: tt.window, used: tt.used}
		if got := roundUp(m.wait(tt.asked)); got != tt.want {
			t.Errorf("%s: wait %v, want %v", tt.source, got, tt.want)
		}
	}
}

// The reset headers of real answers are the time until nothing is in use.
func TestResetIsTheTimeUntilFull(t *testing.T) {
	for _, tt := range []struct {
		source      string
		limit, used float64
		window      time.Duration
		want        string
	}{
		{"open-webui/open-webui issue 3743, requests", 500, 1, time.Minute, "120ms"},
		{"open-webui/open-webui issue 3743, tokens", 30000, 4, time.Minute, "8ms"},
		{"10,000 requests a day, widely quoted", 10000, 1, 24 * time.Hour, "8.64s"},
		{"OpenAI's guide: 6m0s", 1440, 6, 24 * time.Hour, "6m0s"},
	} {
		m := meter{limit: tt.limit, burst: tt.limit, window: tt.window, used: tt.used}
		if got := roundUp(m.timeToDrain(m.used)).String(); got != tt.want {
			t.Errorf("%s: reset %s, want %s", tt.source, got, tt.want)
		}
	}
}

func TestMeterAfterItsWaitHasRoomAndJustBeforeHasNone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 10_000 {
		limit := float64(1 + rng.Int64N(1_000_000))
		m := meter{limit: limit, burst: limit, window: time.Minute, at: start, used: limit * rng.Float64()}
		asked := float64(1 + rng.Int64N(int64(limit)))
		wait := m.wait(asked)
		if wait == 0 {
			continue
		}
		before, after := m, m
		after.drain(start.Add(wait))
		if left := after.wait(asked); left != 0 {
			t.Fatalf("%+v asked %v: after its wait of %v it says %v more", m, asked, wait, left)
		}
		const early = time.Nanosecond
		before.drain(start.Add(wait - early))
		if wait > early && before.wait(asked) == 0 {
			t.Fatalf("%+v asked %v: has room %v before its wait of %v is over", m, asked, early, wait)
		}
	}
}

func TestMeterNeverRunsBackwardsNorBelowZero(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	m := meter{limit: 60, burst: 60, window: time.Minute, at: start, used: 10}
	m.drain(start.Add(-time.Hour))
	if m.used != 10 || !m.at.Equal(start) {
		t.Errorf("an earlier time changed the meter: %+v", m)
	}
	m.add(-50)
	if m.used != 0 {
		t.Errorf("used %v after a large correction, want 0", m.used)
	}
	m.add(5)
	m.drain(start.Add(time.Hour))
	if m.used != 0 {
		t.Errorf("used %v after an hour, want 0", m.used)
	}
}
