package top

import (
	"math"
	"os"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// wavy is a history to look at.
type wavy struct{}

func (wavy) History(family, resource, per string) []watch.Point {
	mean := map[string]float64{
		"claude-sonnet input_tokens": 0.7, "claude-sonnet output_tokens": 0.75, "gpt-4.1 tokens": 0.98, "gpt-5-azure tokens": 0.8,
	}[family+" "+resource]
	var points []watch.Point
	for i := range 300 {
		use := mean + 0.2*mean*math.Sin(float64(i)/17)*math.Sin(float64(i)/5)
		if mean == 0 {
			use = math.NaN()
		} else if family == "claude-sonnet" && i > 250 {
			use = 0
		}
		points = append(points, watch.Point{At: time.Unix(int64(i), 0), Level: 0.5, Use: use})
	}
	return points
}

// docs/img/top.svg is what the terminal shows of a scene: THROTTLE_SHOTS=1 draws it anew.
func TestPictureInTheDocs(t *testing.T) {
	quota := func(resource, per string, limit, burst, level, use float64) watch.Quota {
		q := watch.Quota{Resource: resource, Per: per, Seconds: 60, Limit: limit, Burst: burst, Level: level, Use: use, Seen: use >= 0}
		q.Full = (burst - level) / limit * 60
		if per == "1d" {
			q.Full *= 1440
		}
		return q
	}
	azure := quota("tokens", "1m", 90_000, 15_000, 4_100, 74_000)
	azure.Overridden = true
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 14, 3, second, 0, time.UTC) }
	m := newModel(wavy{}, Options{Title: "redis://limits:6379/0", Style: report.Style{Colours: true}})
	m.Update(tea.WindowSizeMsg{Width: 132, Height: 27})
	m.Update(watch.Update{
		Snapshot: &watch.Snapshot{At: at(20), Families: []watch.Family{
			{Name: "claude-sonnet", State: watch.Debt, Places: 1, Quotas: []watch.Quota{
				quota("input_tokens", "1m", 450_000, 450_000, 450_000, -1), quota("output_tokens", "1m", 90_000, 90_000, -12_700, 0),
				quota("requests", "1m", 1000, 1000, 1000, -1),
			}, Line: []watch.Place{
				{Flow: "agents", Usage: map[string]float64{"input_tokens": 2000, "output_tokens": 350, "requests": 1}, Waited: 17.7, Expected: 8.7},
			}},
			{Name: "gpt-4.1", State: watch.Waiting, Places: 3, Quotas: []watch.Quota{
				quota("requests", "1m", 3000, 3000, 2990, -1), quota("requests", "1d", 1e6, 1e6, 874_000, -1), quota("tokens", "1m", 600_000, 60_000, 4_600, 588_000),
			}, Line: []watch.Place{
				{Flow: "production", Priority: 1, Usage: map[string]float64{"tokens": 4700, "requests": 1}, Waited: 0.04, Expected: 0.01},
				{Flow: "batch", Usage: map[string]float64{"tokens": 13_300, "requests": 1}, Waited: 27.3, Expected: 1.4},
				{Flow: "batch", Usage: map[string]float64{"tokens": 9_100, "requests": 1}, Waited: 11.2, Expected: 2.3},
			}},
			{Name: "gpt-4.1-mini", State: watch.Busy, Quotas: []watch.Quota{
				quota("requests", "1m", 5000, 5000, 4996, -1), quota("tokens", "1m", 2e6, 2e6, 1.99e6, -1),
			}},
			{Name: "gpt-5-azure", State: watch.Paused, Paused: 8, Quotas: []watch.Quota{quota("requests", "1m", 120, 20, 20, -1), azure}},
		}},
		Events: []watch.Event{
			{ID: 1, At: at(2), Family: "claude-sonnet", Grave: watch.Warn, Text: "output_tokens/min is in debt: more was used than was reserved"},
			{ID: 2, At: at(5), Family: "gpt-5-azure", Text: "limit of tokens/min set to 90k, it was 120k"},
			{ID: 3, At: at(8), Family: "gpt-5-azure", Grave: watch.Warn, Text: "paused for 20s"},
		},
	})
	const file = "../../../../docs/img/top.svg"
	picture := report.Screen(m.View())
	if os.Getenv("THROTTLE_SHOTS") != "" {
		if err := os.WriteFile(file, []byte(picture), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(kept) != picture {
		t.Error("docs/img/top.svg is not what top shows: make shots")
	}
}
