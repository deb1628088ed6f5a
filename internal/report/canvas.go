package report

import (
	"math"
	"strings"
)

// canvas is a grid of cells, each of 2 × 4 dots.
type canvas struct {
	columns, rows int
	cells         []cell
}

type cell struct {
	dots   rune // bits of a braille pattern
	text   rune // shown instead of dots, if not 0
	colour Colour
}

func newCanvas(columns, rows int) *canvas {
	return &canvas{columns: columns, rows: rows, cells: make([]cell, columns*rows)}
}

// brailleBits[y][x] is the bit of a dot within its cell.
var brailleBits = [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}

func (c *canvas) dot(x, y int, colour Colour) {
	if x < 0 || y < 0 || x >= 2*c.columns || y >= 4*c.rows {
		return
	}
	cell := &c.cells[y/4*c.columns+x/2]
	cell.dots |= brailleBits[y%4][x%2]
	cell.colour = colour
}

// line draws s; at gives the position of a point between 0 and 1, y upwards.
func (c *canvas) line(s Series, at func(Point) (x, y float64)) {
	width, height := float64(2*c.columns-1), float64(4*c.rows-1)
	drawn := 0
	lastX, lastY := -1, -1
	for i := 1; i < len(s.Points); i++ {
		x0, y0 := at(s.Points[i-1])
		x1, y1 := at(s.Points[i])
		x0, y0, x1, y1 = x0*width, (1-y0)*height, x1*width, (1-y1)*height
		steps := int(math.Ceil(max(math.Abs(x1-x0), math.Abs(y1-y0), 1)))
		for k := range steps + 1 {
			t := float64(k) / float64(steps)
			x, y := int(math.Round(x0+(x1-x0)*t)), int(math.Round(y0+(y1-y0)*t))
			if x == lastX && y == lastY {
				continue
			}
			lastX, lastY = x, y
			if drawn++; s.Dash == 0 || drawn/s.Dash%2 == 0 {
				c.dot(x, y, s.Colour)
			}
		}
	}
}

// label writes a series' label where there is room for it, as near to the end of its line as can be: to its right, or
// else below or above. Without room there is no label; the legend has the name.
func (c *canvas) label(s Series, x, y float64) {
	text := []rune(s.Label)
	column := int(math.Round(x * float64(c.columns-1)))
	end := rowOf(y, c.rows)
	for i := range 2 * c.rows {
		row := end + (i+1)/2 // below, above, below …
		if i%2 == 0 {
			row = end - i/2
		}
		for _, start := range []int{column + 2, column - len(text) + 1} {
			if row < 0 || row >= c.rows || start < 0 || start+len(text) > c.columns || !c.free(row, start, len(text)) {
				continue
			}
			for i, r := range text {
				c.cells[row*c.columns+start+i] = cell{text: r, colour: s.Colour}
			}
			return
		}
	}
}

func (c *canvas) free(row, column, n int) bool {
	for i := max(0, column-1); i < min(c.columns, column+n+1); i++ {
		if cl := c.cells[row*c.columns+i]; cl.text != 0 || cl.dots != 0 {
			return false
		}
	}
	return true
}

// row is one line of the canvas, painted run by run.
func (c *canvas) row(st Style, row int) string {
	var b, run strings.Builder
	colour := Plain
	flush := func() {
		b.WriteString(st.Paint(colour, run.String()))
		run.Reset()
	}
	for _, cl := range c.cells[row*c.columns : (row+1)*c.columns] {
		r := ' '
		if cl.dots != 0 {
			r = 0x2800 + cl.dots
		}
		if cl.text != 0 {
			r = cl.text
		}
		if r == ' ' {
			cl.colour = Plain
		}
		if cl.colour != colour {
			flush()
			colour = cl.colour
		}
		run.WriteRune(r)
	}
	flush()
	return b.String()
}
