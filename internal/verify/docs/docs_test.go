// Package docs holds the documents to the code: every Go block in them compiles, every link leads somewhere.
package docs

import (
	"encoding/json"
	"fmt"
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

// preamble is what a fragment may take for granted: the packages by their names, and what the text around it has
// introduced.
const preamble = `package fragment

import (
	"context"
	"errors"
	"net/http"

	openaisdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/openai"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

type answer struct{ Tokens float64 }

func call(context.Context) (answer, error) { return answer{}, nil }

func fragment(ctx context.Context, store driver.Driver, models throttle.Models, limiter *throttle.Limiter) error {
`

// unused are complaints that a fragment can't help.
var unused = regexp.MustCompile(`declared and not used|imported and not used|no required module provides package github.com/(openai|anthropics)|undefined: (openaisdk|option)|missing return`)

// Every Go block is a program, or a fragment that compiles where the preamble is.
func TestGoBlocksCompile(t *testing.T) {
	dir := t.TempDir()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	overlay := map[string]string{}
	source := map[string]string{} // file or package → document
	for name, text := range documents(t) {
		for i, block := range fence.FindAllStringSubmatch(text, -1) {
			code := block[1]
			if strings.Contains(code, "// not compiled") {
				continue
			}
			pkg := fmt.Sprintf("internal/verify/docs/generated/block%d", len(overlay))
			if !strings.HasPrefix(code, "package ") {
				code = preamble + "{\n" + code + "\n}\nreturn nil\n}\n" // a block of its own, so that it may declare what is there
				code = strings.Replace(code, "\topenaisdk \"github.com/openai/openai-go/v3\"\n\t\"github.com/openai/openai-go/v3/option\"\n", "", 1)
			}
			file := filepath.Join(dir, fmt.Sprintf("%d.go", len(overlay)))
			if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay[filepath.Join(root, pkg, "main.go")] = file
			packages = append(packages, "./"+pkg)
			source[file] = fmt.Sprintf("%s, block %d", name, i+1)
			source[pkg] = source[file]
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
