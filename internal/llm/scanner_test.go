package llm

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// recorder writes down what a Scanner reports, strings joined.
type recorder struct {
	lines  []string
	text   strings.Builder
	action func(path string) Action
}

func (r *recorder) note(format string, args ...any) {
	r.lines = append(r.lines, strings.ReplaceAll(fmt.Sprintf(format, args...), "\x1f", "_"))
}

func (r *recorder) Enter(path []byte, kind byte) Action {
	if r.action != nil {
		return r.action(string(path))
	}
	return Walk
}
func (r *recorder) Leave(path []byte) { r.note("%s end", path) }
func (r *recorder) Text(path, piece []byte, last bool) bool {
	r.text.Write(piece)
	if last {
		r.note("%s %q", path, r.text.String())
		r.text.Reset()
	}
	return true
}
func (r *recorder) Literal(path, text []byte) { r.note("%s %s", path, text) }
func (r *recorder) Captured(path, raw []byte, whole bool) {
	r.note("%s captured %s %v", path, raw, whole)
}

// read scans a document in pieces of the given size.
func read(doc string, size int, action func(string) Action) ([]string, error) {
	r := &recorder{action: action}
	s := NewScanner(r)
	for len(doc) > 0 {
		n := min(size, len(doc))
		_, _ = s.Write([]byte(doc[:n]))
		doc = doc[n:]
	}
	return r.lines, s.Close()
}

func TestScannerPaths(t *testing.T) {
	const doc = ` {"model":"gpt\u002d4", "n":-1.5e3,"list":[ "a" , {"b":true,"c.d":[[null]]},[]],"x":{},"deep":{"\u00e9":{"k":"v\n\"\ud83d\ude00\ud83d"}}} `
	want := []string{
		`model "gpt-4"`, `n -1.5e3`, `list.[] "a"`, `list.[].b true`, `list.[].c_d.[].[] null`, `list.[].c_d.[] end`,
		`list.[].c_d end`, `list.[] end`, `list.[] end`, `list end`, `x end`, `deep.é.k "v\n\"😀` + "\uFFFD" + `"`, `deep.é end`, `deep end`, ` end`,
	}
	for _, size := range []int{1, 2, 3, 7, 1000} {
		got, err := read(doc, size, nil)
		if err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", size, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestScannerCapturesAndSkips(t *testing.T) {
	action := func(path string) Action {
		switch path {
		case "keep", "list.[]":
			return Capture
		case "drop":
			return Skip
		}
		return Walk
	}
	const doc = `{"keep": {"a":[1, "\"}]"]} ,"drop":{"keep":{}},"list":[{"x":1},[2]],"after":3}`
	want := []string{`keep captured {"a":[1, "\"}]"]} true`, `list.[] captured {"x":1} true`, `list.[] captured [2] true`, `list end`, `after 3`, ` end`}
	for _, size := range []int{1, 5, 1000} {
		got, err := read(doc, size, action)
		if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("in pieces of %d: %v\n%s", size, err, strings.Join(got, "\n"))
		}
	}
	got, err := read(`{"keep":["`+strings.Repeat("x", maxCapture)+`"]}`, 1<<16, action)
	if err != nil || len(got) != 2 || !strings.HasSuffix(got[0], " false") {
		t.Errorf("a capture that is too large: %d lines, %v", len(got), err)
	}
}

func TestScannerStop(t *testing.T) {
	r := &stopper{}
	s := NewScanner(r)
	r.scanner = s
	_, _ = s.Write([]byte(`{"a":"x","b":"y"} not JSON`))
	if err := s.Close(); err != nil || r.texts != 1 {
		t.Errorf("%d texts after the stop, %v", r.texts, err)
	}
}

type stopper struct {
	recorder
	scanner *Scanner
	texts   int
}

func (s *stopper) Text([]byte, []byte, bool) bool { s.texts++; s.scanner.Stop(); return true }

func TestScannerKeepsNothing(t *testing.T) {
	s := NewScanner(&recorder{action: func(string) Action { return Skip }})
	piece := []byte(strings.Repeat("x", 1<<16))
	_, _ = s.Write([]byte(`{"a":"`))
	allocs := testing.AllocsPerRun(10, func() { _, _ = s.Write(piece) })
	if allocs != 0 {
		t.Errorf("%v allocations for 64 kB of a string that nobody wants", allocs)
	}
}

// FuzzScanner holds the scanner to encoding/json: what that accepts the scanner accepts, with the same values, whatever
// the pieces.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,"b",{"c":null}]}`, `"\ud83d\ude00"`, `[[[[]]]]`, `{"a":1,}`, `{"a" 1}`, `tru`, `-`, "\"\xff\"", `1 2`, ``} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, doc []byte, size int) {
		if size < 1 {
			size = 1
		}
		lines, err := read(string(doc), size, nil)
		whole, wholeErr := read(string(doc), len(doc)+1, nil)
		if (err == nil) != (wholeErr == nil) || strings.Join(lines, "\n") != strings.Join(whole, "\n") {
			t.Fatalf("in pieces of %d: %v %q; at once: %v %q", size, err, lines, wholeErr, whole)
		}
		var v any
		if json.Unmarshal(doc, &v) != nil {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "nested deeper") {
				return
			}
			t.Fatalf("valid JSON refused: %v", err)
		}
		want := count(v)
		if got := len(lines); got != want {
			t.Fatalf("%d parts, want %d: %q", got, want, lines)
		}
	})
}

// count is how many parts a decoded value has, unless it has duplicate keys, which decoding drops.
func count(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += count(e)
		}
	case map[string]any:
		for _, e := range v {
			n += count(e)
		}
	}
	return n
}
