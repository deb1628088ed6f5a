package demo

import (
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle/internal/report"
)

// Picture is the table and the plot that the demonstration ends with, at most columns wide where that can be.
func (r *Report) Picture(st report.Style, columns int) string {
	return r.table(st).Render(st) + "\n" + r.Plot().Render(st, plotColumns(columns), plotRows) + "\n" + r.verdict() + "\n"
}

// SVG is the same as an image.
func (r *Report) SVG() string {
	st := report.Style{Colours: true}
	return report.SVG(r.table(st).Render(st)+"\n"+r.verdict()+"\n\n  "+st.Paint(report.Bold, r.Plot().Title), r.Plot())
}

const plotRows = 16

func plotColumns(columns int) int { return max(30, min(columns-12, 84)) }

func (r *Report) table(st report.Style) report.Table {
	t := report.Table{Columns: []report.Column{
		{Title: "way"}, {Title: "time", Right: true}, {Title: "429s", Right: true},
		{Title: "reserved", Right: true}, {Title: "used", Right: true}, {Title: "share of the ideal"},
	}}
	for _, res := range r.Ways {
		colour := res.Name.colour()
		refusals := report.Whole(res.Rejected429)
		if res.Rejected429 > 0 {
			refusals = st.Paint(report.Bad, refusals)
		}
		t.Rows = append(t.Rows, []string{
			st.Paint(colour, res.Name.Title()), seconds(res.Elapsed), refusals,
			report.Short(float64(res.TokensReserved)), report.Short(float64(res.TokensUsed)),
			st.Paint(colour, report.Bar(res.ShareOfIdeal, 20)) + fmt.Sprintf(" %3.0f %%", 100*res.ShareOfIdeal),
		})
	}
	return t
}

func seconds(s float64) string { return report.Span(time.Duration(s * float64(time.Second))) }

func (w Way) colour() report.Colour {
	switch w {
	case NoLimiter:
		return report.Warn
	case NoRefund:
		return report.Info
	default:
		return report.Good
	}
}

// Plot is the tokens that each way used over time, against what the limit allows.
func (r *Report) Plot() report.Plot {
	p := report.Plot{Title: "Tokens used over time", XUnit: " s"}
	limit := report.Series{Name: "what the limit allows", Colour: report.Faint, Dash: 1}
	if len(r.Ways) > 0 {
		last := r.Ways[len(r.Ways)-1]
		limit.Points = []report.Point{
			{X: 0, Y: float64(r.Setting.Limits.TokensPerMinute)},
			{X: last.Ideal, Y: float64(last.TokensUsed)},
		}
	}
	p.Series = append(p.Series, limit)
	for _, res := range r.Ways {
		s := report.Series{
			Name: res.Name.Title(), Colour: res.Name.colour(), Points: res.Curve,
			Label: res.Name.Title() + " " + seconds(res.Elapsed),
		}
		switch res.Name {
		case NoLimiter:
			s.Dash = 3
		case NoRefund:
			s.Dash = 6
		}
		p.Series = append(p.Series, s)
	}
	return p
}

// verdict says in a sentence what the rest shows.
func (r *Report) verdict() string {
	by := map[Way]Result{}
	for _, res := range r.Ways {
		by[res.Name] = res
	}
	t := by[Throttle]
	return fmt.Sprintf("  throttle used %.0f %% of what the limits allow, and %d requests were refused. Without refunds the\n"+
		"  same work took %.1f times as long; without a limiter %s requests were refused.",
		100*t.ShareOfIdeal, t.Rejected429, by[NoRefund].Elapsed/t.Elapsed, report.Whole(by[NoLimiter].Rejected429))
}
