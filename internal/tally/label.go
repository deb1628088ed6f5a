package tally

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Label makes a name one that Prometheus and OpenTelemetry take: they insist on UTF-8, which a family's name need not be.
// What isn't is quoted, so that different ones stay different, and so is what looks quoted.
func Label(name string) string {
	if !utf8.ValidString(name) || strings.HasPrefix(name, `"`) {
		return strconv.QuoteToASCII(name)
	}
	return name
}
