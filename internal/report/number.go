package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Whole is a number with its thousands apart: 1,234,567.
func Whole(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Short is a number in few characters: 0.001, 9.5, 950, 1.2k, 35k, 1.2M.
func Short(x float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if scaled := x / unit.size; math.Abs(scaled) >= 0.9995 {
			return significant(scaled) + unit.name
		}
	}
	if a := math.Abs(x); a > 0 && a < 0.1 {
		return strconv.FormatFloat(x, 'g', 1, 64)
	}
	return significant(x)
}

// significant has one decimal below 10, where it isn't 0.
func significant(x float64) string {
	if math.Abs(x) < 9.95 {
		return strings.TrimSuffix(strconv.FormatFloat(x, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}

// Span is a duration for people: < 1 ms, 85 ms, 9.4 s, 3m20s, 2h05m, 3d4h.
func Span(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 0:
		return "-" + Span(-d)
	case d == 0:
		return "0 s"
	case s < 0.0005:
		return "< 1 ms"
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 99.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", int(s)/60, int(s)%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh%02dm", int(s)/3600, int(s)/60%60)
	default:
		return fmt.Sprintf("%dd%dh", int(s)/86400, int(s)/3600%24)
	}
}

// Per is a period as limits name it: "minute", "day", "4.1 s".
func Per(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	return Span(d)
}

// Bar is a part of a whole, from 0 to 1, drawn width columns wide in eighths of a column.
func Bar(part float64, width int) string {
	eighths := int(math.Round(max(0, min(1, part)) * float64(width) * 8))
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return bar + strings.Repeat(" ", width-len([]rune(bar)))
}
