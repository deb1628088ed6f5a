package report

import (
	"fmt"
	"html"
	"strings"
)

// SVG draws painted text, as a terminal would show it, and a plot below it.
func SVG(text string, p Plot) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	const margin, lineHeight, plotHeight = 24, 20, 300
	widest := 0
	for _, l := range lines {
		widest = max(widest, width(l))
	}
	w := max(720, 2*margin+int(float64(widest)*charWidth))
	h := 2*margin + len(lines)*lineHeight + plotHeight + 64
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="10" fill="#0d1117"/>`+"\n", w, h)
	y := margin + 14
	for _, l := range lines {
		svgLine(&b, margin, y, l)
		y += lineHeight
	}
	p.svg(&b, box{margin + 52, y + 8, w - 2*margin - 60, plotHeight})
	b.WriteString("</svg>\n")
	return b.String()
}

// Screen draws painted text alone, as a terminal would show it.
func Screen(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	const margin, lineHeight = 20, 20
	widest := 0
	for _, l := range lines {
		widest = max(widest, width(l))
	}
	w, h := 2*margin+int(float64(widest)*charWidth), 2*margin+len(lines)*lineHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="10" fill="#0d1117"/>`+"\n", w, h)
	for i, l := range lines {
		svgLine(&b, margin, margin+14+i*lineHeight, l)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// charWidth is a column's width at font size 14; lines are stretched to it where a font is narrower or wider.
const charWidth = 8.4

var svgColours = map[Colour]string{
	Plain: "#c9d1d9", Good: "#3fb950", Warn: "#d29922", Bad: "#f85149", Info: "#58a6ff", Faint: "#8b949e", Bold: "#ffffff",
}

// svgLine writes one line of painted text.
func svgLine(b *strings.Builder, x, y int, line string) {
	if width(line) == 0 {
		return
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" textLength="%.1f" xml:space="preserve">`, x, y, float64(width(line))*charWidth)
	colour := Plain
	for line != "" {
		run, rest, escaped := strings.Cut(line, "\x1b[")
		if run != "" {
			fmt.Fprintf(b, `<tspan fill="%s">%s</tspan>`, svgColours[colour], html.EscapeString(run))
		}
		if !escaped {
			break
		}
		code, after, _ := strings.Cut(rest, "m")
		colour = Plain
		for c, known := range codes {
			if known == code {
				colour = c
			}
		}
		line = after
	}
	b.WriteString("</text>\n")
}

// box is where a plot is drawn.
type box struct{ x, y, w, h int }

func (p Plot) svg(b *strings.Builder, in box) {
	maxX, maxY := p.bounds()
	at := func(pt Point) (x, y float64) {
		return float64(in.x) + pt.X/maxX*float64(in.w), float64(in.y+in.h) - pt.Y/maxY*float64(in.h)
	}
	text := func(x, y float64, anchor string, c Colour, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, svgColours[c], html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, colour string) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, colour)
	}
	for y := 0.0; y <= maxY*1.0001; y += niceStep(maxY, 4) {
		_, py := at(Point{0, y})
		line(float64(in.x), py, float64(in.x+in.w), py, "#21262d")
		text(float64(in.x)-6, py+5, "end", Faint, Short(y)+p.YUnit)
	}
	for x := 0.0; x <= maxX*1.0001; x += niceStep(maxX, 6) {
		px, py := at(Point{x, 0})
		line(px, py, px, py+5, "#8b949e")
		text(px, py+20, "middle", Faint, Short(x)+p.XUnit)
	}
	legend := float64(in.x)
	for _, s := range p.Series {
		var points []string
		for _, pt := range s.Points {
			x, y := at(pt)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
		}
		dash := ""
		if s.Dash > 0 {
			dash = fmt.Sprintf(` stroke-dasharray="%d %d"`, 2*s.Dash, 2+s.Dash)
		}
		stroke := fmt.Sprintf(`stroke="%s" stroke-width="2"%s`, svgColours[s.Colour], dash)
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke-linejoin="round" %s/>`+"\n", strings.Join(points, " "), stroke)
		ly := float64(in.y+in.h) + 44
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", legend, ly-5, legend+24, ly-5, stroke)
		text(legend+30, ly, "start", Plain, s.Name)
		legend += 54 + float64(width(s.Name))*charWidth
	}
}
