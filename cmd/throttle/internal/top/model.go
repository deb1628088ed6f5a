package top

import (
	"cmp"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// history is where plots come from.
type history interface {
	History(family, resource, per string) []watch.Point
}

// maxEvents is how many events are remembered for the foot of the screen.
const maxEvents = 20

// model is what is shown, and how. It implements [tea.Model].
type model struct {
	title   string
	style   report.Style
	history history

	width, height int
	snapshot      *watch.Snapshot
	events        []watch.Event

	scroll    int
	held      bool // the picture stays
	waiting   *watch.Snapshot
	byState   bool
	filtering bool // the filter is being typed
	filter    string
}

func newModel(h history, o Options) *model {
	return &model{title: o.Title, style: o.Style, history: h, width: 80, height: 24}
}

// Init implements [tea.Model].
func (m *model) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case watch.Update:
		m.take(msg)
	case tea.KeyMsg:
		for _, k := range apart(msg) {
			if quit := m.key(k); quit {
				return m, tea.Quit
			}
		}
	}
	return m, nil
}

// apart makes single keys of those that came in one read: over a slow connection several do.
func apart(k tea.KeyMsg) []tea.KeyMsg {
	if k.Type != tea.KeyRunes || len(k.Runes) < 2 {
		return []tea.KeyMsg{k}
	}
	keys := make([]tea.KeyMsg, len(k.Runes))
	for i, r := range k.Runes {
		keys[i] = tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}
	}
	return keys
}

func (m *model) take(u watch.Update) {
	m.events = append(m.events, u.Events...)
	if n := len(m.events); n > maxEvents {
		m.events = slices.Delete(m.events, 0, n-maxEvents)
	}
	if m.held {
		m.waiting = u.Snapshot
		return
	}
	m.snapshot = u.Snapshot
}

// key reacts to a key and says whether to quit.
func (m *model) key(k tea.KeyMsg) (quit bool) {
	if k.Type == tea.KeyCtrlC {
		return true
	}
	if m.filtering {
		m.typed(k)
		return false
	}
	switch k.String() {
	case "q":
		return true
	case "up", "k":
		m.scroll--
	case "down", "j":
		m.scroll++
	case "pgup":
		m.scroll -= m.room()
	case "pgdown":
		m.scroll += m.room()
	case "home", "g":
		m.scroll = 0
	case "end", "G":
		m.scroll = 1 << 30 // View keeps it in bounds
	case "s":
		m.byState = !m.byState
	case "/":
		m.filtering = true
	case "esc":
		m.filter = ""
	case " ":
		m.held = !m.held
		if !m.held && m.waiting != nil {
			m.snapshot, m.waiting = m.waiting, nil
		}
	}
	return false
}

// typed edits the filter.
func (m *model) typed(k tea.KeyMsg) {
	switch k.Type {
	case tea.KeyEnter:
		m.filtering = false
	case tea.KeyEsc:
		m.filtering, m.filter = false, ""
	case tea.KeyBackspace:
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case tea.KeyRunes, tea.KeySpace:
		if len(m.filter) < 100 {
			m.filter += string(k.Runes)
		}
	}
	m.scroll = 0
}

// families are those to show, in order.
func (m *model) families() []watch.Family {
	if m.snapshot == nil {
		return nil
	}
	var list []watch.Family
	for _, f := range m.snapshot.Families {
		if strings.Contains(strings.ToLower(f.Name), strings.ToLower(m.filter)) {
			list = append(list, f)
		}
	}
	if m.byState {
		slices.SortStableFunc(list, func(a, b watch.Family) int { return cmp.Compare(rank(a.State), rank(b.State)) })
	}
	return list
}

func rank(s watch.State) int {
	return slices.Index([]watch.State{watch.Paused, watch.Debt, watch.Waiting, watch.Busy, watch.Idle}, s)
}
