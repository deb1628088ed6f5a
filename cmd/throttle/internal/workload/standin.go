package workload

import (
	_ "embed"
	"strconv"
	"strings"
)

// standInSizes has a line for each package of Go 1.26's standard library: its path, a tab, and the number of tokens of
// its documentation.
//
//go:embed standin.tsv
var standInSizes string

// standIns are packages of the real names and sizes whose text is filler, for a machine without Go's sources.
func standIns() []pkg {
	var list []pkg
	for line := range strings.Lines(standInSizes) {
		name, size, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if tokens, err := strconv.Atoi(size); err == nil {
			list = append(list, pkg{name, "package " + name + "\n\n" + filler(tokens)})
		}
	}
	return list
}

// filler is a text of some tokens: each of its words, with the space before it, is one.
func filler(tokens int) string {
	var b strings.Builder
	for i := range tokens {
		b.WriteString(fillerWords[i%len(fillerWords)])
	}
	return b.String()
}

var fillerWords = strings.SplitAfter("one may call this function from many places at once and it will return the same value each time ", " ")
