package report

import "strings"

// Table is text in columns.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Column is how one column looks. Its cells may be painted.
type Column struct {
	Title string
	Right bool // aligned to the right
}

// Render returns the table with a blank column at its left, each line ended by a newline.
func (t Table) Render(st Style) string {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = width(c.Title)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], width(row[i]))
		}
	}
	var b strings.Builder
	line := func(cells []string) {
		var row strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-width(cell))
			if t.Columns[i].Right {
				cell = pad + cell
			} else {
				cell += pad
			}
			row.WriteString("  " + cell)
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	titles := make([]string, len(t.Columns))
	rules := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = st.Paint(Faint, c.Title)
		rules[i] = st.Paint(Faint, strings.Repeat("─", widths[i]))
	}
	line(titles)
	line(rules)
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}
