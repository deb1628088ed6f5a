package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/levels"
	"github.com/tokenthrottle/throttle/internal/llm"
	"github.com/tokenthrottle/throttle/internal/report"
)

type statusCommand struct {
	Families []string `arg:"" optional:"" name:"family" help:"The families to show. Default: all that the store holds."`
	Store    string   `required:"" placeholder:"URL" help:"The store: bolt:///path/limits.db, redis://host:6379/0, postgres://user@host/db."`
	JSON     bool     `name:"json" help:"Print one JSON object."`
}

// Help is shown by --help.
func (statusCommand) Help() string {
	return `A family that is as if it had never been used, every bucket full and nobody waiting, has no state and is not shown. Nothing
is changed by looking. A bolt file can be looked into only while no process holds it.

Exit codes: 0 done, 2 wrong usage or a store that can't be opened, 4 the store failed.`
}

// Run runs the command.
func (c *statusCommand) Run(p *program) error {
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt)
	defer stop()
	d, err := openExistingStore(ctx, c.Store)
	if err != nil {
		return err
	}
	defer d.Close()
	all, err := levels.Read(ctx, d, c.Families...)
	if err != nil {
		return &exit{exitFailed, fmt.Errorf("status: %w", err)}
	}
	if c.JSON {
		out := struct {
			Families []levels.Family `json:"families"`
		}{[]levels.Family{}}
		for _, s := range all {
			out.Families = append(out.Families, levels.FamilyOf(s))
		}
		return writeJSON(p.stdout, out)
	}
	style := p.look(p.stdout).style
	text := statusTable(style, all)
	if line := lineTable(style, all); line != "" {
		text += "\n" + line
	}
	text += c.absent(all)
	_, err = io.WriteString(p.stdout, text)
	return err
}

// absent says of which families there is nothing to show.
func (c *statusCommand) absent(all []throttle.Status) string {
	const full = "every bucket is full, and nobody waits"
	if len(c.Families) == 0 && len(all) == 0 {
		return "No family has any state: " + full + ".\n"
	}
	var b strings.Builder
	for _, name := range c.Families {
		if !slices.ContainsFunc(all, func(s throttle.Status) bool { return s.Family == name }) {
			fmt.Fprintf(&b, "%s has no state: %s, or it was never used.\n", printable(name), full)
		}
	}
	return b.String()
}

func statusTable(st report.Style, all []throttle.Status) string {
	if len(all) == 0 {
		return ""
	}
	t := report.Table{Columns: []report.Column{
		{Title: "family"}, {Title: "quota"}, {Title: "limit", Right: true}, {Title: "level", Right: true}, {Title: "of burst"},
		{Title: "full in", Right: true},
	}}
	for _, s := range all {
		name := printable(s.Family)
		for _, b := range s.Buckets {
			row := []string{name, b.Resource + "/" + report.Per(b.Per), limitOf(st, b), "", "", ""}
			if b.Limit < llm.Undiscovered { // until the provider's headers tell the limit, levels mean nothing
				row[3], row[4], row[5] = levelOf(st, b), st.Paint(levelColour(b), report.Bar(b.Level/b.Burst, 12)), report.Span(b.Full)
			}
			t.Rows = append(t.Rows, row)
			name = ""
		}
		for _, note := range notes(st, s) {
			t.Rows = append(t.Rows, []string{name, note, "", "", "", ""})
			name = ""
		}
		if name != "" {
			t.Rows = append(t.Rows, []string{name, "", "", "", "", ""})
		}
	}
	return t.Render(st)
}

func limitOf(st report.Style, b throttle.BucketStatus) string {
	if b.Limit >= llm.Undiscovered {
		return "unknown"
	}
	text := report.Short(b.Limit)
	if b.Overridden {
		text = st.Paint(report.Warn, text+"*")
	}
	return text
}

func levelOf(st report.Style, b throttle.BucketStatus) string {
	return st.Paint(levelColour(b), report.Short(b.Level))
}

func levelColour(b throttle.BucketStatus) report.Colour {
	switch {
	case b.Level < 0:
		return report.Bad
	case b.Level < b.Burst/10:
		return report.Warn
	}
	return report.Good
}

// notes are what a family has beside its levels.
func notes(st report.Style, s throttle.Status) []string {
	var list []string
	if !s.Paused.IsZero() {
		list = append(list, st.Paint(report.Warn, "paused for "+report.Span(s.Paused.Sub(s.Now))+", until "+s.Paused.Format("15:04:05")))
	}
	for _, b := range s.Buckets {
		if b.Overridden {
			list = append(list, "* set at run time")
			break
		}
	}
	return list
}

// maxPlaces is how many places of a line are listed.
const maxPlaces = 20

// lineTable is who waits, in the order of service; empty if nobody does.
func lineTable(st report.Style, all []throttle.Status) string {
	t := report.Table{Columns: []report.Column{
		{Title: "family"}, {Title: "place", Right: true}, {Title: "flow"}, {Title: "priority", Right: true}, {Title: "wants"},
		{Title: "waits for"}, {Title: "waited", Right: true}, {Title: "expected in", Right: true},
	}}
	for _, s := range all {
		name := printable(s.Family)
		for i := range s.Line {
			if i == maxPlaces {
				t.Rows = append(t.Rows, []string{"", "", fmt.Sprintf("and %d more", len(s.Line)-maxPlaces), "", "", "", "", ""})
				break
			}
			p := &s.Line[i]
			t.Rows = append(t.Rows, []string{name, fmt.Sprint(i + 1), printable(p.Flow), fmt.Sprint(p.Priority), wants(p.Usage),
				bound(&s, p), report.Span(s.Now.Sub(p.Since)), report.Span(p.Expected)})
			name = ""
		}
	}
	if len(t.Rows) == 0 {
		return ""
	}
	return t.Render(st)
}

func wants(u throttle.Usage) string {
	var list []string
	for _, r := range slices.Sorted(maps.Keys(u)) {
		name := printable(r)
		if u[r] == 1 {
			name = strings.TrimSuffix(name, "s")
		}
		list = append(list, report.Short(u[r])+" "+name)
	}
	return strings.Join(list, ", ")
}

// bound is what a place waits for.
func bound(s *throttle.Status, p *throttle.PlaceStatus) string {
	switch {
	case p.Resource != "":
		return printable(p.Resource) + "/" + report.Per(p.Per)
	case !s.Paused.IsZero():
		return "the pause"
	}
	return "–"
}

// printable shows a name that others chose: without what could move the cursor.
func printable(name string) string {
	if name == "" {
		return `""`
	}
	if !utf8.ValidString(name) || strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		name = fmt.Sprintf("%q", name)
	}
	if r := []rune(name); len(r) > 40 {
		name = string(r[:39]) + "…"
	}
	return name
}
