// Package docs holds the documents to the code: every Go block in them compiles, every link leads somewhere.
package docs

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are the Markdown files of the project, by path from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel("../../..", path)
			if err != nil {
				return err
			}
			all[rel] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var fence = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

// imports are the packages that a fragment may take for granted, by their names.
const imports = `package fragment

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/openai"
	"github.com/tokenthrottle/throttle/throttlehttp"
)
`

// around is what the text around a fragment has introduced.
const around = `
type answer struct{ Tokens float64 }

func call(context.Context) (answer, error) { return answer{}, nil }

func fragment(ctx context.Context, store driver.Driver, models throttle.Models, limiter, lim *throttle.Limiter, mux *http.ServeMux) error {
`

// unused are complaints that a fragment can't help. The official SDKs aren't linked by this module: a fragment that uses
// one is checked but for that.
var unused = regexp.MustCompile(`declared and not used|imported and not used|no required module provides package github.com/(openai|anthropics)|undefined: (openaisdk|sdk|option)$|missing return`)

var importLine = regexp.MustCompile(`(?m)^import .*\n`)

// program makes a file of a block: a fragment is put where imports and around are, its declarations before, its
// statements within.
func program(code string) string {
	if strings.HasPrefix(code, "package ") {
		return code
	}
	head := imports + strings.Join(importLine.FindAllString(code, -1), "")
	code = importLine.ReplaceAllString(code, "")
	if strings.HasPrefix(code, "func ") || strings.HasPrefix(code, "type ") {
		return head + code
	}
	return head + around + "{\n" + code + "\n}\nreturn nil\n}\n" // a block of its own, so that it may declare what is there
}

// Every Go block is a program, or a fragment that compiles where imports and around are.
func TestGoBlocksCompile(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	overlay := map[string]string{}
	source := map[string]string{} // the end of a file's path, or a package → document
	for name, text := range documents(t) {
		for i, block := range fence.FindAllStringSubmatch(text, -1) {
			if strings.Contains(block[1], "// not compiled") {
				continue
			}
			pkg := fmt.Sprintf("internal/verify/docs/generated/block%d", len(overlay))
			file := filepath.Join(dir, fmt.Sprintf("%d.go", len(overlay)))
			if err := os.WriteFile(file, []byte(program(block[1])), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay[filepath.Join(root, pkg, "main.go")] = file
			packages = append(packages, "./"+pkg)
			at := filepath.Join(filepath.Base(dir), filepath.Base(file)) + ":" // the compiler may shorten what stands before it
			source[at] = fmt.Sprintf("%s, block %d", name, i+1)
			source[pkg] = source[at]
		}
	}
	if len(overlay) < 10 {
		t.Fatalf("only %d Go blocks found", len(overlay))
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", append([]string{"build", "-gcflags=-e", "-overlay", path}, packages...)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if err == nil || line == "" || strings.HasPrefix(line, "#") || unused.MatchString(line) || strings.HasPrefix(line, "note:") {
			continue
		}
		for at, doc := range source {
			if strings.Contains(line, at) {
				line = doc + ": " + line
			}
		}
		t.Error(line)
	}
}

// indented is code as the first Markdown had it: four spaces, after a line without anything.
var indented = regexp.MustCompile(`(?m)(?:^\n|\A)((?:    .*\n|\n    .*\n)+)`)

// Go that is indented, without a fence, would be compiled by nobody.
func TestGoIsFenced(t *testing.T) {
	for name, text := range documents(t) {
		for _, block := range indented.FindAllStringSubmatch(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, ""), -1) {
			if isGo(block[1]) {
				t.Errorf("%s: put this into a fence of go, or it isn't compiled:\n%s", name, block[1])
			}
		}
	}
	for code, want := range map[string]bool{
		"    import throttleotel \"x/otel\"\n\n    stop, err := throttleotel.Register(lim, nil)\n": true, "    mux.Handle(\"/\", page)\n": true, "    func f() {}\n": true,
		"    go test ./...\n": false, "    bolt:data/limits.db\n": false, "    {\"a\": 1}\n": false, "    throttle demo  # a comment\n": false,
	} {
		if isGo(code) != want {
			t.Errorf("%q is Go: %t", code, !want)
		}
	}
}

// isGo says whether a text is Go that does or declares something.
func isGo(text string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", program(regexp.MustCompile("(?m)^    ").ReplaceAllString(text, "")), 0)
	if err != nil {
		return false
	}
	does := false
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if ok && f.Name.Name != "call" && f.Name.Name != "fragment" {
			return true
		}
		if ok && f.Name.Name == "fragment" {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.CallExpr, *ast.AssignStmt, *ast.DeclStmt, *ast.CompositeLit:
					does = true
				}
				return true
			})
		}
	}
	return does
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)

// Links between documents, and to files of the project, lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join("../../..", filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: link to %s leads nowhere", name, m[1])
			}
		}
	}
}

var testName = regexp.MustCompile(`\b(Test|Fuzz)[A-Z][A-Za-z0-9]+\b`)

// A test that a document names as its witness exists.
func TestNamedTestsExist(t *testing.T) {
	known := map[string]bool{}
	declaration := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range declaration.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range documents(t) {
		for _, test := range testName.FindAllString(text, -1) {
			if !known[test] {
				t.Errorf("%s names %s, which doesn't exist", name, test)
			}
		}
	}
}
