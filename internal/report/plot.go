package report

import (
	"math"
	"strings"
)

// Plot is lines over one pair of axes that start at 0.
type Plot struct {
	Title        string
	XUnit, YUnit string
	Series       []Series
}

// Series is one line. Those that come later are drawn over those before.
type Series struct {
	Name   string
	Colour Colour
	Points []Point // in order of X
	// Dash draws that many dots, then leaves as many out; 0 is a full line.
	Dash int
	// Label marks the line's end with this; empty for none.
	Label string
}

// Point is in the units of the axes.
type Point struct{ X, Y float64 }

// Render draws the plot with braille dots, columns wide and rows high without axes and legend, each line ended by a
// newline.
func (p Plot) Render(st Style, columns, rows int) string {
	maxX, maxY := p.bounds()
	c := newCanvas(columns, rows)
	for _, s := range p.Series {
		c.line(s, func(pt Point) (x, y float64) { return pt.X / maxX, pt.Y / maxY })
	}
	for _, s := range p.Series {
		if s.Label != "" && len(s.Points) > 0 {
			end := s.Points[len(s.Points)-1]
			c.label(s, end.X/maxX, end.Y/maxY)
		}
	}
	ticks := p.yTicks(maxY, rows)
	margin := 0
	for _, t := range ticks {
		margin = max(margin, len(t))
	}
	var b strings.Builder
	if p.Title != "" {
		b.WriteString("  " + st.Paint(Bold, p.Title) + "\n")
	}
	for row := range rows {
		tick := ticks[row]
		edge := "│"
		if tick != "" {
			edge = "┤"
		}
		b.WriteString("  " + st.Paint(Faint, strings.Repeat(" ", margin-len(tick))+tick+" "+edge))
		b.WriteString(strings.TrimRight(c.row(st, row), " ") + "\n")
	}
	b.WriteString("  " + st.Paint(Faint, strings.Repeat(" ", margin+1)+"└"+strings.Repeat("─", columns)) + "\n")
	b.WriteString("  " + st.Paint(Faint, strings.Repeat(" ", margin+2)+p.xTicks(maxX, columns)) + "\n")
	var legend []string
	for _, s := range p.Series {
		mark := "━━"
		if s.Dash == 1 {
			mark = "┈┈"
		} else if s.Dash > 1 {
			mark = "╍╍"
		}
		legend = append(legend, st.Paint(s.Colour, mark)+" "+s.Name)
	}
	b.WriteString("  " + strings.Repeat(" ", margin+2) + strings.Join(legend, "   ") + "\n")
	return b.String()
}

// bounds are the largest coordinates; more than 0.
func (p Plot) bounds() (x, y float64) {
	for _, s := range p.Series {
		for _, pt := range s.Points {
			x, y = max(x, pt.X), max(y, pt.Y)
		}
	}
	if x <= 0 {
		x = 1
	}
	if y <= 0 {
		y = 1
	}
	return x, y
}

// yTicks has a label for each row, most of them empty.
func (p Plot) yTicks(maxY float64, rows int) []string {
	ticks := make([]string, rows)
	step := niceStep(maxY, max(2, rows/4))
	for y := 0.0; y <= maxY*1.0001; y += step {
		ticks[rowOf(y/maxY, rows)] = Short(y) + p.YUnit
	}
	return ticks
}

func rowOf(height float64, rows int) int {
	return rows - 1 - int(math.Round(max(0, min(1, height))*float64(rows-1)))
}

func (p Plot) xTicks(maxX float64, columns int) string {
	line := []rune(strings.Repeat(" ", columns+8))
	step := niceStep(maxX, max(2, columns/14))
	next := 0
	for x := 0.0; x <= maxX*1.0001; x += step {
		at := int(math.Round(x / maxX * float64(columns-1)))
		if label := Short(x) + p.XUnit; at >= next && at+len(label) <= len(line) {
			copy(line[at:], []rune(label))
			next = at + len(label) + 2
		}
	}
	return strings.TrimRight(string(line), " ")
}

// niceStep is 1, 2 or 5 times a power of ten that divides the range into about n parts.
func niceStep(most float64, n int) float64 {
	raw := most / float64(n)
	base := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*base {
			return m * base
		}
	}
	return 10 * base
}
