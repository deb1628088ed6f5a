// Command bench measures throttle beside its peers and beside what its stores can do at best, in one run:
//
//	go run .                         a table
//	go run . -json                   the same for programs
//	go run . -only memory,bolt       parts: memory, bolt, redis, postgres, tokens, transport
//	go run . -only growth -plots ../docs/img
//	go run . -doc ../docs/performance.md
//
// Every row is a median over rounds in which our side, the other and the floor take turns, so that what else the machine
// does disturbs all of them alike.
package main

import (
	"flag"
	"fmt"
	"os"
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

func main() {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: child:", err)
			os.Exit(1)
		}
		return
	}
	asJSON := flag.Bool("json", false, "print JSON instead of a table")
	only := flag.String("only", "", "comma-separated parts to measure, or prefixes of row names; empty for all but growth")
	flag.Parse()
	if err := run(*asJSON, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(asJSON bool, only string) error {
	defer stopServices()
	rows, err := measureAll(chooser(only))
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(os.Stdout, rows)
	}
	return writeTable(os.Stdout, rows)
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
			start := time.Now()
			measure := c.measure
			if c.whole != nil {
				measure = c.whole
			}
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
