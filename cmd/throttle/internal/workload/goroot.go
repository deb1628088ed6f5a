package workload

import (
	"go/ast"
	"go/build"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is a package's import path and documentation.
type pkg struct{ name, text string }

// installed reads the standard library of the Go installation that can be found, if any with sources, and says where.
func installed() ([]pkg, string) {
	for _, root := range roots() {
		if packages := read(filepath.Join(root, "src")); len(packages) >= fewest {
			return packages, root
		}
	}
	return nil, ""
}

// fewest is the number of packages below which a directory can't be the standard library.
const fewest = 50

// roots are where Go may be installed.
func roots() []string {
	list := []string{os.Getenv("GOROOT"), build.Default.GOROOT}
	if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
		list = append(list, strings.TrimSpace(string(out)))
	}
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}

// read reads the documented packages below src, in order of their paths. What can't be read is left out.
func read(src string) []pkg {
	dirs := directories(src)
	all := make([]pkg, len(dirs))
	each(len(dirs), func(i int) {
		if text := document(filepath.Join(src, filepath.FromSlash(dirs[i]))); text != "" {
			all[i] = pkg{dirs[i], text}
		}
	})
	return slices.DeleteFunc(all, func(p pkg) bool { return p.text == "" })
}

// directories lists the import paths below src that may be packages of the standard library.
func directories(src string) []string {
	var list []string
	// A directory that can't be read holds no package that can.
	_ = filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if name == "cmd" || d.Name() == "vendor" || d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if name != "." {
			list = append(list, name)
		}
		return nil
	})
	return list
}

// document is the text of a package's documentation: its comment and that of each exported declaration. Empty if the
// directory holds no package but programs, or one without any documentation.
func document(dir string) string {
	built, err := build.Default.ImportDir(dir, 0)
	if err != nil || built.Name == "main" {
		return ""
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range built.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return ""
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, dir)
	if err != nil {
		return ""
	}
	return text(p)
}

func text(p *doc.Package) string {
	var b strings.Builder
	b.WriteString(p.Doc)
	section := func(kind, name, comment string) {
		b.WriteString("\n" + kind + " " + name + "\n" + comment)
	}
	values := func(kind string, list []*doc.Value) {
		for _, v := range list {
			if v.Doc != "" {
				section(kind, strings.Join(v.Names, ", "), v.Doc)
			}
		}
	}
	funcs := func(prefix string, list []*doc.Func) {
		for _, f := range list {
			section("func", prefix+f.Name, f.Doc)
		}
	}
	values("const", p.Consts)
	values("var", p.Vars)
	funcs("", p.Funcs)
	for _, t := range p.Types {
		section("type", t.Name, t.Doc)
		values("const", t.Consts)
		values("var", t.Vars)
		funcs("", t.Funcs)
		funcs(t.Name+".", t.Methods)
	}
	if b.Len() == 0 {
		return ""
	}
	return "package " + p.Name + "\n\n" + b.String()
}
