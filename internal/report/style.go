// Package report draws what commands have to show: tables and plots as text, with or without colour, and as SVG.
package report

import "unicode/utf8"

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
	for i := 0; i < len(s); {
		if s[i] == '\x1b' {
			for i < len(s) && s[i] != 'm' {
				i++
			}
			i++
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		i += size
		n++
	}
	return n
}
