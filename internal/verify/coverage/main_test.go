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
	if !x {
		println(3)
	}
}
`

const profile = `mode: set
github.com/tokenthrottle/throttle/p/p.go:3.16,5.2 1 1
github.com/tokenthrottle/throttle/p/p.go:9.26,10.7 1 1
github.com/tokenthrottle/throttle/p/p.go:10.7,12.3 1 0
github.com/tokenthrottle/throttle/p/p.go:13.8,15.3 1 0
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
	third := write(t, filepath.Join(root, "third"), strings.Replace(profile, "15.3 1 0", "15.3 1 1", 1))
	for _, c := range []struct {
		name     string
		profiles []string
		reasons  string
		say      []string
		fails    bool
	}{
		{"no reason", []string{first}, "", []string{"| `p` | 4 | 50.0 % |", "| `p/p.go`, `T.half` | 10–12, 13–15 | **no reason"}, true},
		{"a reason for both blocks", []string{first}, "# why\n\np/p.go T.half 2: they can't be\n", []string{"`T.half` | 10–12, 13–15 | they can't be |"}, false},
		{"a reason for one of them", []string{first}, "p/p.go T.half 1: it can't be\n", []string{"**the reason is for 1 blocks, not for 2**: it can't be |"}, true},
		{"a reason for more", []string{first}, "p/p.go T.half 3: they can't be\n", []string{"p/p.go T.half has 2 blocks that aren't reached: its reason, for 3,"}, false},
		{"a reason for another function", []string{first}, "p/p.go reached 1: it can't be\n", []string{"p/p.go reached is reached: its reason can go"}, true},
		{"one reached by another profile", []string{first, second}, "p/p.go T.half 1: it can't be\n", []string{"| `p` | 4 | 75.0 % |", "`T.half` | 13–15 | it can't be |"}, false},
		{"all reached by others", []string{first, second, third}, "p/p.go T.half 1: it can't be\n", []string{"| `p` | 4 | 100.0 % |", "T.half is reached"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocks, err := read(c.profiles)
			if err != nil {
				t.Fatal(err)
			}
			why, err := parse(c.reasons)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := report(&out, root, blocks, why); (err != nil) != c.fails {
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

func TestReasons(t *testing.T) {
	if _, err := parse(reasons); err != nil {
		t.Error(err)
	}
	for _, text := range []string{
		"p/p.go: none can\n", "p/p.go 3: none can\n", "p/p.go f: it can't be\n", "p/p.go f 0: it can't be\n", "p/p.go f x: it can't be\n", "p/p.go f 1:\n", "a word\n",
		"p/p.go f 1: it can't be\np/p.go f 2: nor this\n",
	} {
		if list, err := parse(text); err == nil {
			t.Errorf("%q is a reason: %v", text, list)
		}
	}
}
