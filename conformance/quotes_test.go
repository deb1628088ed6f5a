package conformance

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// elsewhere are sentences of the contract that no clause quotes, and why.
var elsewhere = map[string]string{
	"Driver keeps the state of keys.":                                                                                   "what it is",
	"Requests of a batch need not be atomic together.":                                                                  "a freedom",
	"A driver that was given a client by the user doesn't close that client.":                                           "only the driver's own tests have the client",
	"Close frees what the driver holds: it waits for what is under way, and leaves the store to others.":                "quoted in parts",
	"Request is work on one key.":                                                                                       "what it is",
	"Limits are the key's quotas as the caller knows them; nil for none, see [bucket.Request].":                         "differential/* gives both",
	"Response is what became of a [Request].":                                                                           "what it is",
	"That is how every key starts and what a key that refilled goes back to; earlier, it means that the store lost it.": "what it means; expiry/* looks at it",
	"The limiter then does the arithmetic where the state is ([Do]) instead of sending batches.":                        "what it is for",
	"It never applies twice.":                                                                                           "faults/exactly-once quotes the sentence before",
	"A repeat tries anew what was refused then, so a repeated request may take effect in two steps.":                    "a freedom",
	"Local is implemented by a driver that lives in the process and never blocks on anything but a short lock.":         "what it is",
	"Pin returns the way to one key, which is at most [MaxKey] bytes long.":                                             "what it is",
	"Unlock gives the state back.":                                                                                      "local/same uses it again",
	"[Do] and [ApplyLocal] are how to use it.":                                                                          "how to use it",
	"Now is the driver's clock, the one that Apply goes by.":                                                            "local/same looks at the clock",
	"It may be read with or without a key's lock.":                                                                      "local/exclusive reads it without, local/same with",
	"Lister is implemented by a driver that can say which keys it holds.":                                               "what it is",
	"An error ends the sequence.":                                                                                       "lister/all ends one by its ctx",
	"Notifier is implemented by a driver that can tell when one who waits in line would be granted.":                    "what it is",
	"Calls may be missed and may be spurious; polling is what can be relied on.":                                        "a freedom",
	"ready doesn't block and doesn't call the driver.":                                                                  "a duty of the caller",
}

// TestQuotes sees that each clause quotes what is written, and that what is written is quoted.
func TestQuotes(t *testing.T) {
	all := comments(t, "../driver") + comments(t, "../bucket")
	for _, c := range clauses() {
		if !strings.Contains(all, c.quote) {
			t.Errorf("clause %s quotes what package driver and package bucket don't say: %q", c.name, c.quote)
		}
	}
	contract := map[string]bool{}
	for _, name := range []string{"Driver", "Request", "Response", "Local", "Pinned", "Lister", "Notifier"} {
		for _, s := range sentences(t, "../driver/driver.go", name) {
			contract[s] = true
			if elsewhere[s] != "" || quoted(s) {
				continue
			}
			t.Errorf("no clause quotes what %s demands: %q", name, s)
		}
	}
	for s := range elsewhere {
		if !contract[s] {
			t.Errorf("the contract no longer says %q", s)
		}
	}
}

// quoted says whether some clause quotes a good part of a sentence.
func quoted(sentence string) bool {
	for _, c := range clauses() {
		if strings.Contains(sentence, strings.TrimSuffix(c.quote, ".")) || strings.Contains(c.quote, strings.TrimSuffix(sentence, ".")) {
			return true
		}
	}
	return false
}

// comments is all that a package's comments say, in one line.
func comments(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f.Comments {
			all.WriteString(" " + line(c.Text()))
		}
	}
	return all.String()
}

func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// sentences are those of the doc of a type and of its fields or methods.
func sentences(t *testing.T, file, name string) (all []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok || len(gen.Specs) != 1 {
			continue
		}
		spec, ok := gen.Specs[0].(*ast.TypeSpec)
		if !ok || spec.Name.Name != name {
			continue
		}
		text := gen.Doc.Text()
		ast.Inspect(spec.Type, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				text += " " + field.Doc.Text()
			}
			return true
		})
		for _, s := range strings.SplitAfter(line(text), ". ") {
			all = append(all, strings.TrimSpace(s))
		}
	}
	return all
}
