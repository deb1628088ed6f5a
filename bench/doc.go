package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// A document's parts between these markers are written by -doc: everything else is by hand.
const (
	markBegin = "<!-- begin: %s, written by bench -doc -->"
	markEnd   = "<!-- end: %s -->"
)

// writeDoc replaces what stands between the document's markers. Where nothing was measured, the old text stays.
func writeDoc(path string, rows []row, curves []curve) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	doc := string(text)
	if len(rows) > 0 {
		if doc, err = between(doc, "rows", rowsText(rows)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(curves) > 0 {
		if doc, err = between(doc, "growth", curvesText(curves)); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return os.WriteFile(path, []byte(doc), 0o644)
}

// between replaces the text between a section's markers.
func between(doc, section, text string) (string, error) {
	begin, end := fmt.Sprintf(markBegin, section), fmt.Sprintf(markEnd, section)
	before, rest, found := strings.Cut(doc, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", fmt.Errorf("no markers %q and %q", begin, end)
	}
	return before + begin + "\n\n" + text + "\n" + end + after, nil
}

func rowsText(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s: %s.\n\n", time.Now().Format("2 January 2006"), versions())
	b.WriteString("| row | ours | the other | ratio | goal | floor | against | besides |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		goal, mark := "", ""
		if r.Goal > 0 {
			goal = "≤ " + ratio(r.Goal)
			if r.Ratio > r.Goal {
				mark = " (missed)"
			}
		}
		floor := duration(r.FloorNS)
		if floor != "" {
			floor += ", " + r.Floor
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | **%s**%s | %s | %s | %s | %s |\n",
			r.Name, duration(r.OursNS), duration(r.OtherNS), ratio(r.Ratio), mark, goal, floor, r.Other, r.details())
	}
	b.WriteString("\nOthers at the same rows:\n\n| row | library | an operation | ours |\n|---|---|---|---|\n")
	for _, r := range rows {
		for _, p := range r.Peers {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, p.Name, duration(p.NS), duration(r.OursNS))
		}
	}
	return b.String()
}

func curvesText(curves []curve) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s.\n\n", time.Now().Format("2 January 2006"))
	b.WriteString("| grows | driver | from | to | an operation gets dearer | n log n allows | |\n|---|---|---|---|---|---|---|\n")
	for _, c := range curves {
		first, last := c.ends()
		times, allowed := c.growth()
		fmt.Fprintf(&b, "| %s | %s | %s: %s | %s: %s | × %.2f | × %.1f | %s |\n", c.Dimension, c.Driver,
			thousands(first.N), duration(first.NS), thousands(last.N), duration(last.NS), times, allowed, c.verdict())
	}
	for _, dim := range dimensions {
		fmt.Fprintf(&b, "\n![Time of an operation against %s](img/growth-%s.svg)\n", dim.title, dim.name)
	}
	return b.String()
}

// versions says what was measured with what.
func versions() string {
	list := []string{
		fmt.Sprintf("%s, %s/%s, %d processors (GOMAXPROCS)", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0)),
	}
	for _, command := range [][]string{{"redis-server", "--version"}, {"postgres", "--version"}} {
		out, err := exec.Command(command[0], command[1:]...).Output()
		if err != nil {
			continue // its rows are missing too
		}
		line, _, _ := bytes.Cut(out, []byte("\n"))
		fields := strings.Fields(string(line))
		list = append(list, strings.Join(fields[:min(3, len(fields))], " "))
	}
	shown := map[string]bool{
		"golang.org/x/time": true, "go.uber.org/ratelimit": true, "github.com/sethvargo/go-limiter": true,
		"github.com/throttled/throttled/v2": true, "github.com/ulule/limiter/v3": true, "github.com/go-redis/redis_rate/v10": true,
		"github.com/redis/go-redis/v9": true, "github.com/jackc/pgx/v5": true, "go.etcd.io/bbolt": true,
		"github.com/tiktoken-go/tokenizer": true, "github.com/pkoukk/tiktoken-go": true,
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if shown[m.Path] {
				list = append(list, m.Path+" "+m.Version)
			}
		}
	}
	return strings.Join(list, "; ")
}
