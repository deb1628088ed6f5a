package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// The plots are log-log: a straight level line is a cost that doesn't grow, one at 45 degrees grows in proportion.
const (
	plotWidth, plotHeight         = 720, 420
	left, right, top, bottom      = 80, 110, 40, 50
	plotStyle                     = `font-family="sans-serif" font-size="13" fill="#333"`
	gridStyle                     = `stroke="#ddd" stroke-width="1"`
	innerWidth, innerHeight       = plotWidth - left - right, plotHeight - top - bottom
	lineStyle, markRadius         = `fill="none" stroke-width="2.5"`, 3.5
	backgroundStyle, tickDistance = `fill="#fff"`, 8
)

var colours = map[string]string{"memory": "#1b7837", "bolt": "#b35806", "redis": "#c51b7d", "postgres": "#2166ac"}

// scale maps powers of ten to pixels.
type scale struct{ from, to, start, end float64 }

func (s scale) at(v float64) float64 {
	return s.start + (math.Log10(v)-s.from)/(s.to-s.from)*(s.end-s.start)
}

// plot draws the curves of one dimension as SVG.
func plot(title string, curves []curve) string {
	maxN, minNS, maxNS := 1.0, math.Inf(1), 0.0
	for _, c := range curves {
		for _, p := range c.Points {
			maxN, minNS, maxNS = max(maxN, float64(p.N)), min(minNS, p.NS), max(maxNS, p.NS)
		}
	}
	x := scale{0, max(0.3, math.Log10(maxN)), left, left + innerWidth}
	y := scale{math.Floor(math.Log10(minNS)), math.Ceil(math.Log10(maxNS)), top + innerHeight, top}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" %s>`+"\n", plotWidth, plotHeight, plotWidth, plotHeight, plotStyle)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" %s/>`+"\n", backgroundStyle)
	fmt.Fprintf(&b, `<text x="%d" y="24" font-size="16">Time of an operation against %s</text>`+"\n", left, html.EscapeString(title))
	for e := y.from; e <= y.to; e++ {
		v := math.Pow(10, e)
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" %s/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			left, left+innerWidth, y.at(v), y.at(v), gridStyle, left-tickDistance, y.at(v)+4, power(v))
	}
	for _, n := range ticks(maxN) {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" %s/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x.at(n), x.at(n), top, top+innerHeight, gridStyle, x.at(n), top+innerHeight+20, thousands(int(n)))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", left+innerWidth/2, plotHeight-10, html.EscapeString(title))
	for _, c := range curves {
		colour := colours[c.Driver]
		var line, marks strings.Builder
		for _, p := range c.Points {
			px, py := x.at(float64(p.N)), y.at(p.NS)
			fmt.Fprintf(&line, "%.1f,%.1f ", px, py)
			fmt.Fprintf(&marks, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`, px, py, markRadius, colour)
		}
		last := c.Points[len(c.Points)-1]
		fmt.Fprintf(&b, `<polyline points="%s" %s stroke="%s"/>%s<text x="%.1f" y="%.1f" fill="%s">%s</text>`+"\n",
			strings.TrimSpace(line.String()), lineStyle, colour, marks.String(), x.at(float64(last.N))+tickDistance, y.at(last.NS)+4, colour, c.Driver)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// ticks are powers of ten where there are several, powers of two otherwise.
func ticks(most float64) []float64 {
	base := 10.0
	if most <= 100 {
		base = 2
	}
	var list []float64
	for n := 1.0; n <= most*1.001; n *= base {
		list = append(list, n)
	}
	return list
}

// power writes a power of ten of nanoseconds.
func power(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.0f ms", ns/1e6)
	}
	return fmt.Sprintf("%.0f s", ns/1e9)
}

func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// writePlots writes a plot for each dimension into a folder, as growth-keys.svg and so on.
func writePlots(folder string, curves []curve) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, dim := range dimensions {
		var of []curve
		for _, c := range curves {
			if c.Dimension == dim.name && len(c.Points) > 0 {
				of = append(of, c)
			}
		}
		if len(of) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, "growth-"+dim.name+".svg"), []byte(plot(dim.title, of)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
