package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// All that is asked for is drawn, each place's part of it.
func TestSharesAddUp(t *testing.T) {
	whole := 0.0
	for _, p := range places {
		whole += p.part
	}
	for _, n := range []int{0, 1, 7, 160, 1000} {
		sum := 0
		for i, share := range sharesOf(n) {
			sum += share
			if want := float64(n) * places[i].part / whole; math.Abs(float64(share)-want) > 1 {
				t.Errorf("of %d, %s has %d, want about %.1f", n, places[i].name, share, want)
			}
		}
		if sum != n {
			t.Errorf("of %d, %d are drawn", n, sum)
		}
	}
}

// Every file that a place names is there, and docs/reliability.md names each of them.
func TestPlacesAreThere(t *testing.T) {
	document, err := os.ReadFile("../../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		var names []string
		for _, pattern := range p.files {
			if files, err := filepath.Glob(filepath.Join("../../..", p.pkg, pattern)); err != nil || len(files) == 0 {
				t.Errorf("%s: no file %s in %s", p.name, pattern, p.pkg)
			} else {
				names = append(names, files...)
			}
		}
		row := ""
		for line := range strings.Lines(string(document)) {
			if strings.HasPrefix(line, "| "+p.name+" | `") {
				row = line
			}
		}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") && !strings.Contains(row, "`"+filepath.Base(name)+"`") {
				t.Errorf("docs/reliability.md doesn't say that %s is mutated, at the place %s", name, p.name)
			}
		}
	}
}
