package top

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/mattn/go-runewidth"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// flat is a history without surprises, but for a gap.
type flat struct{}

func (flat) History(string, string, string) []watch.Point {
	var points []watch.Point
	for i := range 300 {
		use := float64(i) / 200
		if i > 100 && i < 130 {
			use = math.NaN()
		}
		points = append(points, watch.Point{At: time.Unix(int64(i), 0), Level: 0.5, Use: use})
	}
	return points
}

func update() watch.Update {
	quota := func(resource string, level float64) watch.Quota {
		return watch.Quota{Resource: resource, Per: "1m", Seconds: 60, Limit: 600_000, Burst: 600_000, Level: level, Full: 30, Use: 300_000, Seen: true}
	}
	place := watch.Place{Flow: "batch", Priority: -2, Usage: map[string]float64{"tokens": 14_000, "requests": 1}, Waited: 12, Expected: 3.4, Resource: "tokens", Per: "1m"}
	overridden := quota("tokens", 0)
	overridden.Overridden, overridden.Seen = true, false
	return watch.Update{
		Snapshot: &watch.Snapshot{At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Omitted: 7, Families: []watch.Family{
			{Name: "a", State: watch.Idle, Quotas: []watch.Quota{quota("requests", 600_000)}},
			{Name: "b", State: watch.Waiting, Places: 9, Quotas: []watch.Quota{quota("requests", 5), overridden}, Line: []watch.Place{place, place, place, place, place, place}},
			{Name: "c\x1b[2J\n" + strings.Repeat("長い名前", 50), State: watch.Paused, Paused: 99, Quotas: []watch.Quota{quota("bananas\r", -5)}},
			{Name: "d", State: watch.Debt, Quotas: []watch.Quota{quota(strings.Repeat("x", 300), -1e9)}},
		}},
		Events: []watch.Event{
			{ID: 1, Family: "b", Grave: watch.Warn, Text: "calls wait in line: 9 places"},
			{ID: 2, Grave: watch.Bad, Text: "the store failed: \x1b]0;title\a" + strings.Repeat("long ", 100)},
		},
	}
}

// visible is a line without colours; any other escape or control character fails the test.
func visible(t *testing.T, line string) string {
	t.Helper()
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		if line[i] == '\x1b' {
			end := strings.IndexByte(line[i:], 'm')
			if end < 0 || strings.Trim(line[i+1:i+end], "[0123456789;") != "" {
				t.Fatalf("an escape sequence that isn't a colour: %q", line)
			}
			i += end
			continue
		}
		b.WriteByte(line[i])
	}
	if s := b.String(); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
		t.Fatalf("a control character: %q", s)
	}
	return b.String()
}

// Whatever the size of the terminal, and whatever names others chose, the picture fits and moves no cursor.
func TestViewFits(t *testing.T) {
	for _, colours := range []bool{false, true} {
		for width := 1; width <= 220; width += 1 + width/6 {
			for _, height := range []int{1, 2, 5, 16, 24, 60} {
				m := newModel(flat{}, Options{Title: "redis://host:6379/0", Style: report.Style{Colours: colours}})
				m.Update(tea.WindowSizeMsg{Width: width, Height: height})
				m.View() // before anything is known
				m.Update(update())
				for _, key := range []string{"", "end", "s"} {
					m.Update(pressed(key))
					lines := strings.Split(m.View(), "\n")
					if len(lines) > height {
						t.Fatalf("%d by %d: %d lines", width, height, len(lines))
					}
					for _, line := range lines {
						if w := runewidth.StringWidth(visible(t, line)); w > width {
							t.Fatalf("%d by %d: %d columns: %q", width, height, w, line)
						}
					}
				}
			}
		}
	}
}

func pressed(key string) tea.Msg {
	switch key {
	case "end":
		return tea.KeyMsg{Type: tea.KeyEnd}
	case "esc":
		return tea.KeyMsg{Type: tea.KeyEsc}
	case "enter":
		return tea.KeyMsg{Type: tea.KeyEnter}
	case "backspace":
		return tea.KeyMsg{Type: tea.KeyBackspace}
	case "down":
		return tea.KeyMsg{Type: tea.KeyDown}
	case " ":
		return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune(" ")}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(key)}
}

func TestView(t *testing.T) {
	m := newModel(flat{}, Options{Title: "redis://host:6379/0"})
	m.Update(tea.WindowSizeMsg{Width: 120, Height: 40})
	if v := m.View(); !strings.Contains(v, "looking …") {
		t.Errorf("before the first look:\n%s", v)
	}
	m.Update(update())
	v := m.View()
	for _, want := range []string{
		"throttle top  redis://host:6379/0", "4 families · 7 more not shown · 9 places in line · 03:04:05",
		" a  ● idle", "600k of 600k", "50 % of 600k", "full in 30.0 s", "▁▂▃", "tokens/min*", "– of 600k",
		" 1 batch (priority -2): 1 request, 14k tokens; waited 12.0 s for tokens/min, expected in 3.4 s", "and 5 more",
		"● paused for 99.0 s", "5 owed", "b calls wait in line: 9 places", "the store failed", "q quit",
	} {
		if !strings.Contains(v, want) {
			t.Errorf("%q isn't in\n%s", want, v)
		}
	}
	m.Update(watch.Update{Snapshot: &watch.Snapshot{Error: "connection refused", Failed: 1}})
	if v := m.View(); !strings.Contains(v, "nothing can be seen: connection refused") {
		t.Errorf("a broken store:\n%s", v)
	}
	m.Update(watch.Update{Snapshot: &watch.Snapshot{}})
	if v := m.View(); !strings.Contains(v, "every bucket is full") {
		t.Errorf("an empty store:\n%s", v)
	}
}

func TestKeys(t *testing.T) {
	m := newModel(flat{}, Options{})
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 10})
	m.Update(update())
	press := func(keys ...string) {
		for _, k := range keys {
			if _, cmd := m.Update(pressed(k)); cmd != nil {
				t.Fatalf("%q quits", k)
			}
		}
	}
	first := func() string { return strings.TrimSpace(strings.Split(m.View(), "\n")[1]) }
	if got := first(); !strings.HasPrefix(got, "a ") {
		t.Errorf("first is %q", got)
	}
	press("s")
	if got := first(); !strings.HasPrefix(got, "c·[2J·") {
		t.Errorf("by state, first is %q, want the one that is paused", got)
	}
	press("s", "/dx", "backspace", "q") // typed, not done
	if v := m.View(); !strings.Contains(v, "filter: dq") {
		t.Errorf("while the filter is typed:\n%s", v)
	}
	press("backspace", "enter")
	if got := first(); !strings.HasPrefix(got, "d ") {
		t.Errorf("filtered by d, first is %q", got)
	}
	press("esc")
	if got := first(); !strings.HasPrefix(got, "a ") {
		t.Errorf("after Esc, first is %q", got)
	}
	press("down", "j")
	if got := first(); !strings.HasPrefix(got, "b ") {
		t.Errorf("two down, the first line is %q", got)
	}
	press("end", "end", "k", "g")
	if got := first(); !strings.HasPrefix(got, "a ") {
		t.Errorf("back at the start, first is %q", got)
	}
	press(" ")
	m.Update(watch.Update{Snapshot: &watch.Snapshot{At: time.Unix(0, 0)}})
	if v := m.View(); !strings.Contains(v, "HELD") || !strings.HasPrefix(first(), "a ") {
		t.Errorf("held:\n%s", v)
	}
	press(" ")
	if v := m.View(); strings.Contains(v, "HELD") || strings.HasPrefix(first(), "a ") {
		t.Errorf("let go:\n%s", v)
	}
	for _, quits := range []tea.Msg{pressed("q"), tea.KeyMsg{Type: tea.KeyCtrlC}} {
		if _, cmd := m.Update(quits); cmd == nil {
			t.Errorf("%v doesn't quit", quits)
		}
	}
}

// screen is an output that can be waited for.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) until(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		found := strings.Contains(s.text.String(), want)
		s.mu.Unlock()
		if found {
			return
		}
	}
	t.Fatalf("%q is never shown; shown is %q", want, s.text.String())
}

// The whole program: it shows a store, and ends with q, or with its context.
func TestRun(t *testing.T) {
	for _, how := range []string{"q", "context"} {
		t.Run(how, func(t *testing.T) {
			d := memory.New()
			l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 1000)))
			defer l.Close()
			for i := range 3 {
				if _, err := l.Acquire(t.Context(), fmt.Sprintf("family-%d", i), throttle.Usage{"tokens": 900}); err != nil {
					t.Fatal(err)
				}
			}
			source, err := watch.OfStore(d, nil, 10)
			if err != nil {
				t.Fatal(err)
			}
			w := watch.New(source, watch.Options{Every: 20 * time.Millisecond})
			defer w.Close()
			keys, typed := io.Pipe()
			defer typed.Close()
			var out screen
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error)
			go func() { ended <- Run(ctx, w, Options{Title: "memory", Input: keys, Output: &out}) }()
			out.until(t, "family-2")
			if how == "q" {
				if _, err := typed.Write([]byte("q")); err != nil {
					t.Fatal(err)
				}
			} else {
				cancel()
			}
			select {
			case err := <-ended:
				if err != nil && how == "q" {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it doesn't end")
			}
		})
	}
}
