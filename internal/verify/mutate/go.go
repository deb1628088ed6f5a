package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one change.
type mutant struct {
	id           int
	file, change string // file: from the package's folder
	function     string // that it is in, by its name alone; of Go only
	line         int
	text         string // of the whole file, for Lua
}

func (m mutant) String() string { return fmt.Sprintf("%s:%d: %s", m.file, m.line, m.change) }

// where names the function it is in, or else the file.
func (m mutant) where(pkg string) string {
	at := filepath.Join(pkg, m.file)
	if m.function != "" {
		at += " " + m.function
	}
	return at
}

// goPackage is a package with its types.
type goPackage struct {
	fset  *token.FileSet
	files map[string]*ast.File // by base name
	texts map[string]string
	info  *types.Info
	types *types.Package
}

// goMutants lists the mutants of a place, and gives its files with all of them in.
func goMutants(p place) (mutants []mutant, files map[string]string, name string, err error) {
	pkg, err := load(p.pkg)
	if err != nil {
		return nil, nil, "", err
	}
	files = map[string]string{}
	for _, file := range slices.Sorted(func(yield func(string) bool) {
		for f := range pkg.files {
			if !yield(f) {
				return
			}
		}
	}) {
		if !slices.ContainsFunc(p.files, func(glob string) bool { ok, _ := filepath.Match(glob, file); return ok }) {
			continue
		}
		m := &mutator{goPackage: pkg, file: file, text: pkg.texts[file], first: len(mutants) + 1}
		files[file] = m.rewriteFile()
		mutants = append(mutants, m.mutants...)
	}
	return mutants, files, pkg.types.Name(), nil
}

// load parses a package and checks its types, by what the go command has compiled of its imports.
func load(dir string) (*goPackage, error) {
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,GoFiles,Dir", "./"+dir).Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	type listed struct {
		ImportPath, Export, Dir string
		GoFiles                 []string
	}
	var last listed // the package itself
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := d.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[l.ImportPath] = l.Export
		last = l
	}
	pkg := &goPackage{fset: token.NewFileSet(), files: map[string]*ast.File{}, texts: map[string]string{}, info: &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}}
	var parsed []*ast.File
	for _, name := range last.GoFiles {
		text, err := os.ReadFile(filepath.Join(last.Dir, name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(pkg.fset, name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		pkg.files[name], pkg.texts[name] = f, string(text)
		parsed = append(parsed, f)
	}
	config := types.Config{Importer: importer.ForCompiler(pkg.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	pkg.types, err = config.Check(last.ImportPath, pkg.fset, parsed, pkg.info)
	return pkg, err
}

// mutator writes a file anew with every mutant in it, each behind a question which mutant the program is.
type mutator struct {
	*goPackage
	file    string
	text    string
	first   int
	mutants []mutant
	stack   []ast.Node
	edits   []*edit // of the nodes, outermost first
}

// edit is a node that has mutants.
type edit struct {
	from, to int // offsets
	// wrap gives the node's new text; inner gives that of a part, or of all of it, with the edits inside it.
	wrap func(inner func(ast.Node) string) string
}

func (m *mutator) offset(p token.Pos) int { return m.fset.Position(p).Offset }

func (m *mutator) source(n ast.Node) string { return m.text[m.offset(n.Pos()):m.offset(n.End())] }

// add makes a mutant and returns the condition that the program is it.
func (m *mutator) add(at token.Pos, change string) string {
	id := m.first + len(m.mutants)
	m.mutants = append(m.mutants, mutant{id: id, file: m.file, function: m.function(), line: m.fset.Position(at).Line, change: change})
	return fmt.Sprintf("mutantOfThrottle == %d", id)
}

// function is the name of the function that the node is in.
func (m *mutator) function() string {
	for _, n := range m.stack {
		if f, ok := n.(*ast.FuncDecl); ok {
			return f.Name.Name
		}
	}
	return ""
}

func (m *mutator) edit(n ast.Node, wrap func(inner func(ast.Node) string) string) {
	m.edits = append(m.edits, &edit{m.offset(n.Pos()), m.offset(n.End()), wrap})
}

// rewriteFile collects the edits and carries them out.
func (m *mutator) rewriteFile() string {
	ast.Inspect(m.files[m.file], func(n ast.Node) bool {
		if n == nil {
			m.stack = m.stack[:len(m.stack)-1]
			return true
		}
		if d, ok := n.(*ast.GenDecl); ok && len(m.stack) == 1 && d != nil {
			return false // constants, types and tables: the tests quote them
		}
		m.mutate(n)
		m.stack = append(m.stack, n)
		return true
	})
	return m.render(0, len(m.text), 0)
}

// render is the text from one offset to another with the edits within it, from the given one on.
func (m *mutator) render(from, to, first int) string {
	var b strings.Builder
	at := from
	for i := first; i < len(m.edits); i++ { // outermost first, in order
		e := m.edits[i]
		if e.from < at || e.to > to {
			continue
		}
		b.WriteString(m.text[at:e.from])
		b.WriteString(e.wrap(func(n ast.Node) string { return m.render(m.offset(n.Pos()), m.offset(n.End()), i+1) }))
		at = e.to
	}
	b.WriteString(m.text[at:to])
	return b.String()
}
