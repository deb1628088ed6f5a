package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/levels"
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
	_, err = io.WriteString(p.stdout, statusTable(p.look(p.stdout).style, all))
	return err
}

func statusTable(st report.Style, all []throttle.Status) string {
	if len(all) == 0 {
		return "No family has any state: every bucket is full, and nobody waits.\n"
	}
	t := report.Table{Columns: []report.Column{
		{Title: "family"}, {Title: "quota"}, {Title: "limit", Right: true}, {Title: "level", Right: true}, {Title: "of burst"},
		{Title: "full in", Right: true},
	}}
	for _, s := range all {
		name := printable(s.Family)
		for _, b := range s.Buckets {
			t.Rows = append(t.Rows, []string{name, b.Resource + "/" + report.Per(b.Per), limitOf(st, b), levelOf(st, b),
				st.Paint(levelColour(b), report.Bar(b.Level/b.Burst, 12)), report.Span(b.Full)})
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
	for _, f := range levels.Flows(s) {
		places := "1 place"
		if f.Places > 1 {
			places = fmt.Sprintf("%d places", f.Places)
		}
		list = append(list, fmt.Sprintf("waiting: flow %s, %s, %s so far", printable(f.Flow), places, report.Span(f.Longest)))
	}
	for _, b := range s.Buckets {
		if b.Overridden {
			list = append(list, "* set at run time")
			break
		}
	}
	return list
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
