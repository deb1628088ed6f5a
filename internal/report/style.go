// Package report draws what commands have to show: tables and plots as text, with or without colour, and as SVG.
package report

import "iter"

// Colour is one of the terminal's own colours.
type Colour int

// The colours; each has a plain meaning throughout the command.
const (
	Plain Colour = iota
	Good         // green
	Warn         // yellow
	Bad          // red
	Info         // cyan
	Faint        // grey
	Bold
)

var codes = map[Colour]string{Good: "32", Warn: "33", Bad: "31", Info: "36", Faint: "90", Bold: "1"}

// Style says whether to colour. The zero Style doesn't.
type Style struct{ Colours bool }

// Paint returns s in a colour.
func (st Style) Paint(c Colour, s string) string {
	if code, ok := codes[c]; ok && st.Colours && s != "" {
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	return s
}

// width is the number of columns that s takes, escape sequences left out. Everything the reports print is one column a
// rune.
func width(s string) int {
	n := 0
	for range Visible(s) {
		n++
	}
	return n
}

// Visible yields what can be seen of s, the runes that are no part of a [Style.Paint]'s escape sequence, each with the byte
// that it begins at.
func Visible(s string) iter.Seq2[int, rune] {
	return func(yield func(int, rune) bool) {
		escaped := false
		for i, r := range s {
			switch {
			case escaped:
				escaped = r != 'm'
			case r == '\x1b':
				escaped = true
			case !yield(i, r):
				return
			}
		}
	}
}
