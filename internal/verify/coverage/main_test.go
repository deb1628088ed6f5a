package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const source = `package p

func reached() {
	println(1)
}

type T struct{}

func (t *T) half(x bool) {
	if x {
		println(2)
	}
}
`

const profile = `mode: set
github.com/tokenthrottle/throttle/p/p.go:3.16,5.2 1 1
github.com/tokenthrottle/throttle/p/p.go:9.26,10.7 1 1
github.com/tokenthrottle/throttle/p/p.go:10.7,12.3 1 0
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReport(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "p", "p.go"), source)
	first := write(t, filepath.Join(root, "first"), profile)
	second := write(t, filepath.Join(root, "second"), strings.Replace(profile, "12.3 1 0", "12.3 1 1", 1))
	for _, c := range []struct {
		name     string
		profiles []string
		reasons  string
		say      []string
		fails    bool
	}{
		{"no reason", []string{first}, "", []string{"| `p` | 3 | 66.7 % |", "| `p/p.go`, `T.half` | 10–12 | **no reason"}, true},
		{"a reason for the function", []string{first}, "# why\np/p.go T.half: it can't be\n", []string{"`T.half` | 10–12 | it can't be |"}, false},
		{"a reason for the file", []string{first}, "p/p.go: none can\n", []string{"`T.half` | 10–12 | none can |"}, false},
		{"a reason for another function", []string{first}, "p/p.go reached: it can't be\n", []string{"p/p.go reached is reached: its reason can go"}, true},
		{"reached by another profile", []string{first, second}, "p/p.go T.half: it can't be\n", []string{"| `p` | 3 | 100.0 % |", "T.half is reached"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := read(c.profiles)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := report(&out, root, blocks, parse(c.reasons)); (err != nil) != c.fails {
				t.Errorf("error %v", err)
			}
			for _, s := range c.say {
				if !strings.Contains(out.String(), s) {
					t.Errorf("%q is missing in\n%s", s, out.String())
				}
			}
		})
	}
	if _, err := read([]string{write(t, filepath.Join(root, "bad"), "no profile\n")}); err == nil {
		t.Error("a bad profile was read")
	}
	if _, err := read(nil); err == nil {
		t.Error("no profile was read")
	}
}
