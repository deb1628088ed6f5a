package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokenthrottle/throttle/internal/report"
)

// amount writes a value of a measure with its unit.
func amount(measure string, v float64) string {
	if scale, unit := unitOf(measure); unit != "" {
		return fmt.Sprintf("%.2f%s", v/scale, unit)
	}
	return fmt.Sprintf("%.1f", v)
}

// rise and bound are what is compared: for keys the most that there were, and those that came lately.
func (f *Finding) rise() string {
	if f.Measure == keys {
		return "most " + amount(keys, f.Most)
	}
	return amount(f.Measure, f.Rise)
}

func (f *Finding) bound() string {
	if f.Measure == keys {
		return amount(keys, f.Came)
	}
	return amount(f.Measure, f.Bound)
}

func unitOf(measure string) (scale float64, unit string) {
	switch measure {
	case heap, rss, size:
		return 1e6, " MB"
	}
	return 1, ""
}

var colours = map[string]report.Colour{"memory": report.Good, "bolt": report.Warn, "redis": report.Bad, "postgres": report.Info}

// draw writes a plot of each measure into a folder, as soak-live-heap.svg and so on.
func draw(folder string, samples []Sample, v Verdict) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, measure := range measures {
		if svg := plot(measure, samples, v); svg != "" {
			name := "soak-" + strings.ReplaceAll(measure, " ", "-") + ".svg"
			if err := os.WriteFile(filepath.Join(folder, name), []byte(svg), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// plot draws one measure of all drivers. Where drivers are orders of magnitude apart it is in parts of each one's mean.
func plot(measure string, samples []Sample, v Verdict) string {
	st := report.Style{Colours: true}
	relative := measure == keys || measure == size
	scale, unit := unitOf(measure)
	if relative {
		unit = " ×"
	}
	p := report.Plot{XUnit: " min", YUnit: unit}
	title := strings.ToUpper(measure[:1]) + measure[1:]
	if relative {
		title += ", in parts of its mean"
	}
	table := report.Table{Columns: []report.Column{{Title: "driver"}, {Title: "mean", Right: true}, {Title: "rise", Right: true}, {Title: "allowed", Right: true}, {Title: ""}}}
	for _, f := range v.Findings {
		if f.Measure != measure {
			continue
		}
		divide := scale
		if relative {
			divide = f.Mean
		}
		line := report.Series{Name: f.Driver, Colour: colours[f.Driver]}
		for _, s := range samples {
			if value, ok := s.Measures[measure]; ok && s.Driver == f.Driver {
				line.Points = append(line.Points, report.Point{X: s.Seconds / 60, Y: value / divide})
			}
		}
		p.Series = append(p.Series, line)
		verdict := st.Paint(report.Good, "flat")
		if !f.Flat {
			verdict = st.Paint(report.Bad, "not flat")
		}
		table.Rows = append(table.Rows, []string{st.Paint(line.Colour, f.Driver), amount(measure, f.Mean), f.rise(), f.bound(), verdict})
	}
	if len(p.Series) == 0 {
		return ""
	}
	return report.SVG(st.Paint(report.Bold, "  "+title)+"\n\n"+table.Render(st), p)
}
