package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// row is one comparison as it was measured. Times are nanoseconds an operation: the time that all goroutines together
// took, divided by how many operations they did.
type row struct {
	Name       string  `json:"name"`
	OursNS     float64 `json:"ours_ns"`
	Other      string  `json:"other"`
	OtherNS    float64 `json:"other_ns"`
	Ratio      float64 `json:"ratio"`
	FloorNS    float64 `json:"floor_ns"`
	Goroutines int     `json:"goroutines"`
	Keys       int     `json:"keys"`

	// What goes beyond times; left out where it doesn't apply.
	Floor  string   `json:"floor,omitempty"`  // what floor_ns is
	Goal   float64  `json:"goal,omitempty"`   // the ratio to reach
	Rounds int      `json:"rounds,omitempty"` // how many medians are over
	Allocs *float64 `json:"allocs,omitempty"` // our allocations an operation
	// Bytes is what one waiter takes.
	Bytes float64 `json:"bytes,omitempty"`
	// Retries and OtherRetries are serialization failures an operation.
	Retries      *float64 `json:"retries,omitempty"`
	OtherRetries *float64 `json:"other_retries,omitempty"`
	Note         string   `json:"note,omitempty"`
	Peers        []peer   `json:"peers,omitempty"`
}

// peer is another library at the same row.
type peer struct {
	Name string  `json:"name"`
	NS   float64 `json:"ns"`
}

// rounded keeps four digits, which is more than a run repeats.
func rounded(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0 // JSON has no word for the others
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func (r row) rounded() row {
	r.OursNS, r.OtherNS, r.Ratio, r.FloorNS = rounded(r.OursNS), rounded(r.OtherNS), rounded(r.Ratio), rounded(r.FloorNS)
	r.Bytes = rounded(r.Bytes)
	for _, p := range []**float64{&r.Allocs, &r.Retries, &r.OtherRetries} {
		if *p != nil {
			v := rounded(**p)
			*p = &v
		}
	}
	peers := append([]peer(nil), r.Peers...)
	for i := range peers {
		peers[i].NS = rounded(peers[i].NS)
	}
	r.Peers = peers
	return r
}

func writeJSON(w io.Writer, rows []row) error {
	out := make([]row, len(rows))
	for i, r := range rows {
		out[i] = r.rounded()
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// duration writes nanoseconds for people.
func duration(ns float64) string {
	switch {
	case ns == 0 || math.IsNaN(ns):
		return ""
	case ns < 9_995:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 999_500:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	case ns < 999_500_000:
		return fmt.Sprintf("%.1f ms", ns/1e6)
	}
	return fmt.Sprintf("%.2f s", ns/1e9)
}

// verdict says whether a row reaches its goal.
func (r row) verdict() string {
	switch {
	case r.Goal == 0:
		return "measured"
	case r.Ratio <= r.Goal:
		return "≤ " + ratio(r.Goal)
	}
	return "MISSES " + ratio(r.Goal)
}

func ratio(v float64) string {
	switch {
	case v == 0 || math.IsNaN(v):
		return ""
	case v < 0.1:
		return fmt.Sprintf("%.4f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// details are a row's further figures, as text.
func (r row) details() string {
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	if r.Allocs != nil {
		add("%.3g allocations", *r.Allocs)
	}
	if r.Retries != nil {
		add("%.3g retries an operation", *r.Retries)
	}
	if r.OtherRetries != nil {
		add("%.3g in the other", *r.OtherRetries)
	}
	if r.Bytes > 0 {
		add("%.0f bytes a waiter", r.Bytes)
	}
	if r.Note != "" {
		add("%s", r.Note)
	}
	return text
}

func writeTable(w io.Writer, rows []row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tours\tother\tratio\tgoal\tfloor\tagainst\tbesides")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.Name, duration(r.OursNS), duration(r.OtherNS), ratio(r.Ratio), r.verdict(), duration(r.FloorNS), r.Other, r.details())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		for _, p := range r.Peers {
			fmt.Fprintf(w, "  %s: %s: %s\n", r.Name, p.Name, duration(p.NS))
		}
	}
	return nil
}
