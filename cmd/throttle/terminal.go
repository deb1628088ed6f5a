package main

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/tokenthrottle/throttle/internal/report"
)

// terminal is what can be known of an output.
type terminal struct {
	is      bool
	columns int // 80 where it isn't known
	style   report.Style
}

// look finds out whether w is a terminal, and how wide. Colour goes to terminals, unless NO_COLOR is set or TERM is dumb.
func (p *program) look(w io.Writer) terminal {
	t := terminal{columns: 80}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return t
	}
	t.is = p.getenv("TERM") != "dumb"
	if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
		t.columns = columns
	}
	t.style.Colours = t.is && p.getenv("NO_COLOR") == ""
	return t
}
