// Torture breaks stores, and the way to them, in every way we could think of, while two limiters with a dozen callers
// are at work, and keeps books: what was minted (must be 0), what was lost, and how long it took until everybody was
// served again. Under a bolt file it breaks the disk, at every call.
//
//	go run ./internal/verify/torture [-json] [-short] [-only redis|postgres|bolt] [-fault substring]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// Row is what came of one fault on one driver.
type Row struct {
	Fault      string  `json:"fault"`
	Driver     string  `json:"driver"`
	Runs       int     `json:"runs"`
	Operations int     `json:"operations"`
	Minted     float64 `json:"minted"`
	Leaked     float64 `json:"leaked"`
	// Stated is the most that may have leaked: what was asked for and never answered.
	Stated float64 `json:"leak_bound"`
	// Forgotten is what the store itself has forgotten of what it had answered: it replicates behind its answers.
	Forgotten float64 `json:"forgotten,omitempty"`
	// LostMS is the longest time whose answers a replica lacked, or may have lacked, when it took over.
	LostMS        float64 `json:"lost_ms,omitempty"`
	Failed        int     `json:"failed"`
	MaxRecoveryMS float64 `json:"max_recovery_ms"`
	// LongestMS is the longest that a call took.
	LongestMS float64  `json:"max_call_ms"`
	Problems  []string `json:"problems,omitempty"`
	// NotTried says why a fault could not be tried on this machine.
	NotTried string `json:"not_tried,omitempty"`
	// Note says what the figures don't.
	Note string `json:"note,omitempty"`
}

func main() {
	child()
	asJSON := flag.Bool("json", false, "print JSON")
	asMarkdown := flag.Bool("markdown", false, "print a table for docs/reliability.md")
	job := Job{}
	flag.BoolVar(&job.Short, "short", false, "each fault once, briefly: under a minute in all")
	flag.StringVar(&job.Driver, "only", "", "one driver: redis, postgres or bolt")
	flag.StringVar(&job.Fault, "fault", "", "only faults whose name contains this")
	flag.Parse()
	rows, err := Torture(job, func(r Row) {
		if !*asJSON {
			fmt.Fprintln(os.Stderr, r.String())
		}
	})
	switch {
	case *asJSON:
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		_ = e.Encode(rows) // to a standard output that is gone: nobody to tell
	case *asMarkdown:
		markdown(rows)
	default:
		table(rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
	for _, r := range rows {
		if r.Minted > 0 || len(r.Problems) > 0 {
			os.Exit(1)
		}
	}
}

// String says what came of it in a line.
func (r Row) String() string {
	if r.NotTried != "" {
		return fmt.Sprintf("%s, %s: NOT TRIED: %s", r.Driver, r.Fault, r.NotTried)
	}
	return fmt.Sprintf("%s, %s: %d runs, %d operations, %d failed, minted %g, forgotten %g, leaked %g of %g, back after %.0f ms, longest call %.0f ms; %s %s",
		r.Driver, r.Fault, r.Runs, r.Operations, r.Failed, r.Minted, r.Forgotten, r.Leaked, r.Stated, r.MaxRecoveryMS, r.LongestMS, r.Note, strings.Join(r.Problems, "; "))
}

// cells are a row of the table.
func (r Row) cells() []string {
	if r.NotTried != "" {
		return []string{r.Driver, r.Fault, "NOT TRIED: " + r.NotTried}
	}
	fault := r.Fault
	if r.Note != "" {
		fault += " (" + r.Note + ")"
	}
	minted := fmt.Sprintf("%g", r.Minted)
	if r.Forgotten > 0 {
		minted += fmt.Sprintf(" (and %.0f forgotten)", r.Forgotten)
	}
	cells := []string{r.Driver, fault, fmt.Sprint(r.Runs), fmt.Sprint(r.Operations), fmt.Sprint(r.Failed), minted, fmt.Sprintf("%.0f", r.Leaked), fmt.Sprintf("%.0f", r.Stated)}
	if r.MaxRecoveryMS == 0 {
		return append(cells, "", "")
	}
	cells = append(cells, fmt.Sprintf("%.0f ms", r.MaxRecoveryMS))
	if r.LongestMS == 0 {
		return append(cells, "")
	}
	return append(cells, fmt.Sprintf("%.1f s", r.LongestMS/1000))
}

var columns = []string{"driver", "fault", "runs", "operations", "failed", "minted", "leaked", "at most", "back after", "longest call"}

func table(rows []Row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(columns, "\t"))
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r.cells(), "\t"))
	}
	w.Flush()
}

func markdown(rows []Row) {
	fmt.Printf("| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, r := range rows {
		cells := r.cells()
		for len(cells) < len(columns) {
			cells = append(cells, "")
		}
		fmt.Printf("| %s |\n", strings.Join(cells, " | "))
	}
}
