package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// public are the packages that pkg.go.dev shows, as folders from the module's root.
func public(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel("../../..", path)
		if err != nil {
			return err
		}
		nested, err := filepath.Glob(filepath.Join(path, "go.mod"))
		if rel != "." && len(nested) > 0 || strings.HasPrefix(d.Name(), ".") && rel != "." ||
			slices.Contains([]string{"internal", "testdata", "cmd", "examples", "docs", "contrib"}, d.Name()) {
			return fs.SkipDir
		}
		if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 0 {
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 10 {
		t.Fatalf("only %q found", list)
	}
	return list
}

// load parses a package with its tests.
func load(t *testing.T, dir string) *doc.Package {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../../..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	pkg, err := doc.NewFromFiles(fset, parsed, filepath.ToSlash(filepath.Join("github.com/tokenthrottle/throttle", dir)))
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// shown are the names that a package's examples are of, or use: "Acquire" of lim.Acquire too.
func shown(pkg *doc.Package) map[string]bool {
	names := map[string]bool{}
	note := func(list []*doc.Example) {
		for _, e := range list {
			ast.Inspect(e.Code, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					names[s.Sel.Name] = true
				}
				return true
			})
		}
	}
	note(pkg.Examples)
	for _, f := range pkg.Funcs {
		note(f.Examples)
	}
	for _, t := range pkg.Types {
		note(t.Examples)
		for _, f := range slices.Concat(t.Funcs, t.Methods) {
			note(f.Examples)
		}
	}
	return names
}

// unshown need no example, each for its reason.
var unshown = map[string]string{
	"driver.Register": "called once by each driver's init; docs/writing-a-driver.md shows it in a whole one",
	"driver.Check":    "for drivers: likewise",
	"driver.Frees":    "for drivers that notify: one line, of use only within a driver",
	"driver.FreesAny": "for drivers in the process: likewise",
	"driver.Do":       "how the limiter uses such a driver", "driver.ApplyLocal": "likewise",
}

// ofInterfaces are methods that are called by others, by an interface's name.
var ofInterfaces = regexp.MustCompile(`\.(Error|Unwrap|Is|String|LogValue|MarshalJSON|UnmarshalJSON|Close|Apply|Keys|Pin|Notify|Name|Names|ServeHTTP|RoundTrip)$`)

// Every exported function of every package, and every method of those that programs call most, is used in an example of
// its package, where pkg.go.dev shows it.
func TestFunctionsHaveExamples(t *testing.T) {
	missing := map[string]bool{}
	for _, dir := range public(t) {
		pkg := load(t, dir)
		names := shown(pkg)
		check := func(f *doc.Func, of string) {
			full := pkg.Name + "." + of + f.Name
			if names[f.Name] || ofInterfaces.MatchString(full) {
				return
			}
			missing[full] = true
			if unshown[full] == "" {
				t.Errorf("%s: no example uses %s", dir, full)
			}
		}
		for _, f := range pkg.Funcs {
			check(f, "")
		}
		for _, ty := range pkg.Types {
			for _, f := range ty.Funcs {
				check(f, "")
			}
			if dir == "." {
				for _, f := range ty.Methods {
					check(f, ty.Name+".")
				}
			}
		}
	}
	for name := range unshown {
		if !missing[name] {
			t.Errorf("%s is shown, or gone: take it off the list", name)
		}
	}
}

// Every package says what it is for, how to begin (Basics) and what to beware of (Caveats).
func TestPackagesSayBasicsAndCaveats(t *testing.T) {
	for _, dir := range public(t) {
		pkg := load(t, dir)
		for _, title := range []string{"\n# Basics\n", "\n# Caveats\n"} {
			if !strings.Contains(pkg.Doc, title) {
				t.Errorf("%s: its documentation has no %q", dir, strings.TrimSpace(title))
			}
		}
	}
}
