// Command bench measures throttle beside its peers and beside what its stores can do at best, in one run:
//
//	go run .                                   a table
//	go run . -json                             the same for programs
//	go run . -only memory,bolt                 parts: memory, bolt, redis, postgres, tokens, transport, or rows by name
//	go run . -only growth -plots ../docs/img   how cost grows, with plots
//	go run . -doc ../docs/performance.md       rows and growth, written into the document beside its plots
//
// Every row is a median over rounds in which our side, the other and the floor take turns, so that what else the machine
// does disturbs all of them alike.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// part is what -only chooses.
type part struct {
	name     string
	contests func() []contest
}

var parts = []part{
	{"memory", memoryContests},
	{"bolt", boltContests},
	{"redis", redisContests},
	{"postgres", postgresContests},
	{"tokens", tokenContests},
	{"transport", transportContests},
}

// growthPart is measured only where it is asked for: it is no comparison, and takes minutes.
const growthPart = "growth"

// flags are what the command line says.
type flags struct {
	json             bool
	only, plots, doc string
}

func main() {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: child:", err)
			os.Exit(1)
		}
		return
	}
	var f flags
	flag.BoolVar(&f.json, "json", false, "print JSON instead of a table")
	flag.StringVar(&f.only, "only", "", "comma-separated parts to measure, or beginnings of rows' names; empty for all but growth")
	flag.StringVar(&f.plots, "plots", "", "folder to write the plots of growth to")
	flag.StringVar(&f.doc, "doc", "", "document to write the results into, between its markers; measures growth too unless -only says otherwise")
	flag.Parse()
	if err := run(f); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(f flags) error {
	defer stopServices()
	if f.doc != "" && f.plots == "" {
		f.plots = filepath.Join(filepath.Dir(f.doc), "img")
	}
	wanted := chooser(f.only)
	rows, err := measureAll(wanted)
	if err != nil {
		return err
	}
	var curves []curve
	if f.only != "" && wanted(growthPart, "") || f.only == "" && f.doc != "" {
		if curves, err = measureGrowth(os.Stderr); err != nil {
			return err
		}
		if f.plots != "" {
			if err := writePlots(f.plots, curves); err != nil {
				return err
			}
		}
	}
	if f.doc != "" {
		return writeDoc(f.doc, rows, curves)
	}
	if f.json {
		return printJSON(rows, curves)
	}
	return printTables(rows, curves)
}

// warn tells of an error that spoils no figure, or shows as another one soon.
func warn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// printJSON prints rows; curves only if there are no rows.
func printJSON(rows []row, curves []curve) error {
	if len(rows) == 0 && len(curves) > 0 {
		return json.NewEncoder(os.Stdout).Encode(curves)
	}
	return writeJSON(os.Stdout, rows)
}

func printTables(rows []row, curves []curve) error {
	if len(rows) > 0 {
		if err := writeTable(os.Stdout, rows); err != nil {
			return err
		}
	}
	if len(curves) > 0 {
		return writeCurves(os.Stdout, curves)
	}
	return nil
}

// chooser says which parts and rows are asked for.
func chooser(only string) func(part, row string) bool {
	if only == "" {
		return func(string, string) bool { return true }
	}
	wanted := strings.Split(only, ",")
	return func(part, row string) bool {
		for _, w := range wanted {
			if w == part || row != "" && strings.HasPrefix(row, w) {
				return true
			}
		}
		return false
	}
}

func measureAll(wanted func(part, row string) bool) ([]row, error) {
	var rows []row
	for _, p := range parts {
		for _, c := range p.contests() {
			if !wanted(p.name, c.name) {
				continue
			}
			measure := c.measure
			if c.whole != nil {
				measure = c.whole
			}
			start := time.Now()
			r, err := measure()
			if err != nil {
				return rows, err
			}
			rows = append(rows, r)
			fmt.Fprintf(os.Stderr, "%-24s %s\n", c.name, time.Since(start).Round(100*time.Millisecond))
		}
	}
	return rows, nil
}
