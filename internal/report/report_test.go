package report

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 100000: "100,000"} {
		if got := Whole(n); got != want {
			t.Errorf("Whole(%d) = %q, want %q", n, got, want)
		}
	}
	for x, want := range map[float64]string{
		0: "0", 0.001: "0.001", 0.25: "0.2", 5: "5", 9.5: "9.5", 950: "950", 999.7: "1k", 1200: "1.2k", 35_400: "35k",
		1.25e6: "1.2M", 2e9: "2G",
	} {
		if got := Short(x); got != want {
			t.Errorf("Short(%v) = %q, want %q", x, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 100 * time.Microsecond: "< 1 ms", 85 * time.Millisecond: "85 ms", 9400 * time.Millisecond: "9.4 s", 200 * time.Second: "3m20s",
		125 * time.Minute: "2h05m", 76 * time.Hour: "3d4h", -time.Second: "-1.0 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "minute", 24 * time.Hour: "day", 4100 * time.Millisecond: "4.1 s"} {
		if got := Per(d); got != want {
			t.Errorf("Per(%v) = %q, want %q", d, got, want)
		}
	}
	for part, want := range map[float64]string{0: "    ", 1: "████", 0.5: "██  ", 0.53: "██▏ ", 7: "████", -1: "    "} {
		if got := Bar(part, 4); got != want {
			t.Errorf("Bar(%v, 4) = %q, want %q", part, got, want)
		}
	}
}

func TestTableAlignsPaintedCells(t *testing.T) {
	st := Style{Colours: true}
	table := Table{Columns: []Column{{Title: "name"}, {Title: "n", Right: true}}}
	table.Rows = [][]string{{st.Paint(Bad, "a"), "1"}, {"bcdefg", st.Paint(Good, "1,234")}}
	got := strings.Split(table.Render(st), "\n")
	for i, line := range got {
		got[i] = strip(line)
	}
	want := []string{"  name        n", "  ──────  ─────", "  a           1", "  bcdefg  1,234", ""}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %q, want %q", i, got[i], want[i])
		}
	}
	table.Rows[0][0], table.Rows[1][1] = "a", "1,234"
	if plain := table.Render(Style{}); strings.Contains(plain, "\x1b") {
		t.Errorf("escape sequences without colours: %q", plain)
	}
}

// strip removes escape sequences.
func strip(s string) string {
	var b strings.Builder
	for s != "" {
		if s[0] == '\x1b' {
			s = s[strings.IndexByte(s, 'm')+1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		b.WriteRune(r)
		s = s[size:]
	}
	return b.String()
}

func TestPlotDrawsWhereTheDataIs(t *testing.T) {
	p := Plot{Title: "tokens", XUnit: " s", Series: []Series{
		{Name: "rising", Points: []Point{{0, 0}, {10, 1000}}, Label: "end"},
		{Name: "flat", Points: []Point{{0, 500}, {5, 500}}, Dash: 2},
	}}
	lines := strings.Split(p.Render(Style{}, 40, 11), "\n")
	if lines[0] != "  tokens" {
		t.Errorf("title: %q", lines[0])
	}
	grid := lines[1:12]
	dots := func(row, from, to int) int {
		_, cells, _ := strings.Cut(strings.ReplaceAll(grid[row], "┤", "│"), "│")
		n := 0
		for i, r := range []rune(cells) {
			if r > 0x2800 && r <= 0x28ff && i >= from && i < to {
				n++
			}
		}
		return n
	}
	if dots(0, 36, 40) == 0 || dots(10, 0, 4) == 0 {
		t.Error("the rising line doesn't go from the lower left to the upper right")
	}
	if dots(0, 0, 30) != 0 || dots(10, 10, 40) != 0 {
		t.Error("dots where no line is")
	}
	if n := dots(5, 0, 18); n < 8 {
		t.Errorf("the flat line has %d cells in the middle row", n)
	}
	for _, want := range []string{"1k ┤", "500 ┤", "0 ┤", "0 s", "10 s", "━━ rising", "╍╍ flat", "end"} {
		if !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("no %q in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

func TestPlotOfNothingAndOfExtremes(t *testing.T) {
	for _, p := range []Plot{
		{},
		{Series: []Series{{Name: "a", Label: strings.Repeat("x", 100)}}},
		{Series: []Series{{Name: "a", Label: strings.Repeat("x", 100), Points: []Point{{0, 0}}}}},
		{Series: []Series{{Points: []Point{{0, 0}, {1, 1e-9}, {2, 40}}, Label: "z"}}},
		{Series: []Series{{Points: []Point{{1e-9, 1e12}, {2e-9, 3e12}}}}},
	} {
		if got := p.Render(Style{}, 30, 5); strings.Count(got, "\n") < 8 {
			t.Errorf("plot %+v:\n%s", p, got)
		}
	}
}
