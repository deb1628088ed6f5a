package demo

import (
	"fmt"

	"github.com/tokenthrottle/throttle/internal/report"
)

// Picture is the table and the plot that the demonstration of flows ends with.
func (r *FlowReport) Picture(st report.Style, columns int) string {
	return r.table(st).Render(st) + "\n" + r.Plot().Render(st, plotColumns(columns), plotRows) + "\n" + r.verdict() + "\n"
}

// SVG is the same as an image.
func (r *FlowReport) SVG() string {
	st := report.Style{Colours: true}
	return report.SVG(r.table(st).Render(st)+"\n"+r.verdict()+"\n\n  "+st.Paint(report.Bold, r.Plot().Title), r.Plot())
}

func (r *FlowReport) table(st report.Style) report.Table {
	t := report.Table{Columns: []report.Column{
		{Title: "flows"}, {Title: "production waits", Right: true}, {Title: "99 %", Right: true}, {Title: "served", Right: true},
		{Title: "batch", Right: true}, {Title: "429s", Right: true}, {Title: "key used", Right: true},
	}}
	for _, res := range r.Ways {
		refusals := report.Whole(res.Rejected429)
		if res.Rejected429 > 0 {
			refusals = st.Paint(report.Bad, refusals)
		}
		t.Rows = append(t.Rows, []string{
			st.Paint(res.Name.colour(), res.Name.Title()), seconds(res.WaitMedian), seconds(res.Wait99),
			fmt.Sprintf("%d/%d", res.ProductionServed, res.ProductionRequests),
			report.Whole(res.Requests - int64(res.ProductionServed)), refusals, fmt.Sprintf("%.0f %%", 100*res.ShareOfIdeal),
		})
	}
	return t
}

func (s Sharing) colour() report.Colour {
	if s == NoFlows {
		return report.Warn
	}
	return report.Good
}

// Plot is how many of production's requests were granted over time, against how many came.
func (r *FlowReport) Plot() report.Plot {
	p := report.Plot{Title: "Production's requests granted over time", XUnit: " s"}
	for i, res := range r.Ways {
		if i == 0 {
			p.Series = append(p.Series, report.Series{Name: "asked for", Colour: report.Faint, Dash: 1, Points: []report.Point{
				{}, {X: res.Elapsed, Y: float64(res.ProductionRequests)},
			}})
		}
		s := report.Series{
			Name: res.Name.Title(), Colour: res.Name.colour(), Points: res.Served,
			Label: fmt.Sprintf("%s, %d granted", res.Name.Title(), res.ProductionServed),
		}
		if res.Name == NoFlows {
			s.Dash = 3
		}
		p.Series = append(p.Series, s)
	}
	return p
}

func (r *FlowReport) verdict() string {
	by := map[Sharing]FlowResult{}
	for _, res := range r.Ways {
		by[res.Name] = res
	}
	return fmt.Sprintf("  Production needs a tenth of the key, beside %d limiters that take what they can get. As one\n"+
		"  of %d flows it waits %s at the median and its queue grows; as one of two it waits %s.",
		BatchLimiters, BatchLimiters+1, seconds(by[NoFlows].WaitMedian), seconds(by[TwoFlows].WaitMedian))
}
