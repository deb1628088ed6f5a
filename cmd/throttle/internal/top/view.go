package top

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// maxFoot is how many events are shown.
const maxFoot = 4

// maxLine is how many places of a line are shown.
const maxLine = 4

// room is how many lines the families have.
func (m *model) room() int { return max(1, m.height-len(m.foot())-1) }

// View implements [tea.Model]: never more lines than the terminal has, nor wider ones.
func (m *model) View() string {
	var body []string
	for _, f := range m.families() {
		body = append(body, m.family(&f)...)
	}
	if len(body) == 0 {
		body = []string{"", "  " + m.nothing()}
	}
	room := m.room()
	m.scroll = max(0, min(m.scroll, len(body)-room))
	more := len(body) - room - m.scroll
	body = body[m.scroll:min(len(body), m.scroll+room)]
	lines := append([]string{m.head(more)}, body...)
	for len(lines) < room+1 {
		lines = append(lines, "")
	}
	lines = append(lines, m.foot()...)
	if len(lines) > m.height {
		lines = lines[:max(1, m.height)]
	}
	for i := range lines {
		lines[i] = cut(lines[i], m.width, m.style)
	}
	return strings.Join(lines, "\n")
}

func (m *model) nothing() string {
	switch {
	case m.snapshot == nil:
		return "looking …"
	case m.snapshot.Error != "":
		return m.paint(report.Bad, clip("nothing can be seen: "+clean(m.snapshot.Error), m.width-2))
	case m.filter != "":
		return "No family's name contains " + clip(clean(m.filter), 40) + "."
	}
	return clip("No family has any state: every bucket is full, and nobody waits.", m.width-2)
}

func (m *model) paint(c report.Colour, s string) string { return m.style.Paint(c, s) }

// head is the first line.
func (m *model) head(more int) string {
	left := "throttle top  " + clean(m.title)
	var facts []string
	if s := m.snapshot; s != nil {
		places := 0
		for _, f := range s.Families {
			places += f.Places
		}
		facts = append(facts, count(len(s.Families), "family", "families"))
		if s.Omitted > 0 {
			facts = append(facts, fmt.Sprintf("%d more not shown", s.Omitted))
		}
		if places > 0 {
			facts = append(facts, count(places, "place in line", "places in line"))
		}
		if s.Failed > 0 {
			facts = append(facts, fmt.Sprintf("%d can't be seen", s.Failed))
		}
		if more > 0 {
			facts = append(facts, fmt.Sprintf("%d lines below", more))
		}
		facts = append(facts, s.At.Format(time.TimeOnly))
	}
	if m.held {
		facts = append(facts, "HELD")
	}
	right := clip(strings.Join(facts, " · "), m.width)
	left = clip(left, m.width-runewidth.StringWidth(right)-2)
	gap := strings.Repeat(" ", max(0, m.width-runewidth.StringWidth(left)-runewidth.StringWidth(right)))
	return m.paint(report.Bold, left) + gap + m.paint(report.Faint, right)
}

// foot are the last lines: events, and the keys.
func (m *model) foot() []string {
	var lines []string
	if m.height >= 16 {
		recent := m.events[max(0, len(m.events)-maxFoot):]
		for _, e := range slices.Backward(recent) {
			text := e.At.Format(time.TimeOnly) + " "
			if e.Family != "" {
				text += clean(e.Family) + " "
			}
			lines = append(lines, m.paint(gravity(e.Grave), clip(" "+text+clean(e.Text), m.width)))
		}
	}
	keys := "q quit  ↑↓ scroll  / filter  s by state  space hold"
	switch {
	case m.filtering:
		keys = "filter: " + clean(m.filter) + "▏ Enter keeps it, Esc clears it"
	case m.filter != "":
		keys = "filter: " + clean(m.filter) + "  Esc clears it  q quit"
	}
	return append(lines, m.paint(report.Faint, clip(" "+keys, m.width)))
}

func gravity(g watch.Gravity) report.Colour {
	switch g {
	case watch.Bad:
		return report.Bad
	case watch.Warn:
		return report.Warn
	}
	return report.Plain
}

var stateColours = map[watch.State]report.Colour{
	watch.Paused: report.Bad, watch.Debt: report.Bad, watch.Waiting: report.Warn, watch.Busy: report.Good, watch.Idle: report.Faint,
}

var stateWords = map[watch.State]string{
	watch.Paused: "paused", watch.Debt: "in debt", watch.Waiting: "waiting", watch.Busy: "in use", watch.Idle: "idle",
}

// family is a family's lines: its name, a line for each quota, the front of its line.
func (m *model) family(f *watch.Family) []string {
	state := stateWords[f.State]
	if f.State == watch.Paused {
		state += " for " + span(f.Paused)
	}
	name := clip(clean(f.Name), max(8, m.width-runewidth.StringWidth(state)-6))
	lines := []string{m.fit(" "+m.paint(report.Bold, name)+"  ", m.paint(stateColours[f.State], "● "+state), runewidth.StringWidth(name)+3)}
	for i := range f.Quotas {
		lines = append(lines, m.quota(f.Name, &f.Quotas[i]))
	}
	for i, p := range f.Line {
		if i == maxLine {
			lines = append(lines, m.paint(report.Faint, clip(fmt.Sprintf("     and %d more", f.Places-maxLine), m.width)))
			break
		}
		lines = append(lines, m.paint(report.Warn, clip(place(i, &p, f.Paused > 0), m.width)))
	}
	return lines
}

// fit joins what is painted to what was measured, or leaves it out where there is no room.
func (m *model) fit(left, right string, used int) string {
	if used+12 > m.width {
		return left
	}
	return left + right
}

// quota is one line: name, bar, level, and as much of the rest as the terminal is wide enough for.
func (m *model) quota(family string, q *watch.Quota) string {
	name := clean(q.Resource) + "/" + word(q.Per)
	if q.Overridden {
		name += "*"
	}
	nameWidth, barWidth, plotWidth := 20, 12, 0
	switch {
	case m.width >= 130:
		nameWidth, barWidth, plotWidth = 24, 24, m.width-24-24-62
	case m.width >= 100:
		nameWidth, barWidth, plotWidth = 22, 16, m.width-22-16-62
	case m.width < 60:
		nameWidth, barWidth = max(6, m.width-24), 6
	}
	plotWidth = min(plotWidth, 60)
	part := q.Level / q.Burst
	colour := report.Good
	switch {
	case q.Level < 0:
		colour, part = report.Bad, -part
	case part < 0.1:
		colour = report.Warn
	}
	amount := report.Short(q.Level) + " of " + report.Short(q.Burst)
	if q.Level < 0 {
		amount = report.Short(-q.Level) + " owed"
	}
	line := "   " + pad(clip(name, nameWidth), nameWidth) + " " + m.paint(colour, report.Bar(part, barWidth)) + " " + left(amount, 13)
	if m.width < 60 {
		return line
	}
	use := "–"
	if q.Seen {
		use = fmt.Sprintf("%.0f %%", 100*q.Use/q.Limit)
	}
	line += "  " + left(use+" of "+report.Short(q.Limit), 14)
	if m.width >= 84 {
		full := "full"
		if q.Full > 0 {
			full = "full in " + span(q.Full)
		}
		line += "  " + m.paint(report.Faint, pad(full, 18))
	}
	if plotWidth > 7 {
		line += " " + m.spark(m.history.History(family, q.Resource, q.Per), plotWidth)
	}
	return line
}

// spark draws use over time: a full column is the limit, or more.
func (m *model) spark(points []watch.Point, columns int) string {
	if len(points) == 0 {
		return ""
	}
	const over = 5 * time.Minute
	end := points[len(points)-1].At
	sums, counts := make([]float64, columns), make([]int, columns)
	for _, p := range points {
		i := columns - 1 - int(end.Sub(p.At)*time.Duration(columns)/over)
		if i >= 0 && i < columns && !math.IsNaN(p.Use) {
			sums[i] += p.Use
			counts[i]++
		}
	}
	var b strings.Builder
	for i := range columns {
		if counts[i] == 0 {
			b.WriteByte(' ')
			continue
		}
		use := sums[i] / float64(counts[i])
		r := []rune("▁▂▃▄▅▆▇█")[max(0, min(7, int(use*8-0.5)))]
		if use > 1.02 {
			b.WriteString(m.paint(report.Warn, string(r)))
		} else {
			b.WriteString(m.paint(report.Info, string(r)))
		}
	}
	return b.String()
}

// place is one place in the line.
func place(i int, p *watch.Place, paused bool) string {
	var wants []string
	for _, r := range slices.Sorted(maps.Keys(p.Usage)) {
		name := clean(r)
		if p.Usage[r] == 1 {
			name = strings.TrimSuffix(name, "s")
		}
		wants = append(wants, report.Short(p.Usage[r])+" "+name)
	}
	text := fmt.Sprintf("   %2d %s", i+1, clip(clean(p.Flow), 24))
	if p.Priority != 0 {
		text += fmt.Sprintf(" (priority %d)", p.Priority)
	}
	text += ": " + strings.Join(wants, ", ") + "; waited " + span(p.Waited)
	switch {
	case p.Resource != "":
		text += " for " + clean(p.Resource) + "/" + word(p.Per)
	case paused:
		text += " for the pause to end"
	}
	return text + ", expected in " + span(p.Expected)
}

func span(seconds float64) string { return report.Span(time.Duration(seconds * float64(time.Second))) }

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// word is a period as people say it.
func word(per string) string {
	if w, ok := map[string]string{"1s": "s", "1m": "min", "1h": "h", "1d": "day"}[per]; ok {
		return w
	}
	return per
}

// clean shows a text that others chose, without what could move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}

// clip shortens a text to a number of columns.
func clip(s string, columns int) string {
	if columns <= 0 {
		return ""
	}
	return runewidth.Truncate(s, columns, "…")
}

func pad(s string, columns int) string { return runewidth.FillRight(s, columns) }

func left(s string, columns int) string { return runewidth.FillLeft(s, columns) }

// cut shortens a line that may be painted.
func cut(s string, columns int, st report.Style) string {
	width := 0
	for i, r := range report.Visible(s) {
		if width += runewidth.RuneWidth(r); width > columns {
			if st.Colours {
				return s[:i] + "\x1b[0m"
			}
			return s[:i]
		}
	}
	return s
}
