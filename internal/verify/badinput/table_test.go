// Package badinput gives every public function outside the root package bad arguments, by a table: the error has the type
// that its documentation names, or, where there is no error to return, it panics with words of ours or takes the argument
// for the default. The root package has such a table of its own, in badinput_test.go.
//
// That the state is as before is tried here by the rows of package bucket, and in badinput_test.go by every row.
package badinput

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// row is one public function given one kind of bad argument.
type row struct {
	function string // package and declaration: "openai.Transport.RoundTrip"
	what     string
	call     func(t *testing.T) error
	want     any // a pointer to an error's type, a sentinel, an error's or a panic's words, or nil for an argument that does no harm
}

// says is what the text of an error without a type begins with.
type says string

// panics is what a function without an error panics with.
type panics string

func table() []row {
	var all []row
	for _, rows := range [][]row{providers(), stores(), observers(), arithmetic()} {
		all = append(all, rows...)
	}
	return all
}

func TestBadInputElsewhere(t *testing.T) {
	for _, r := range table() {
		t.Run(r.function+"/"+r.what, func(t *testing.T) {
			panicked, err := try(t, r.call)
			switch want := r.want.(type) {
			case nil:
				if err != nil || panicked != nil {
					t.Errorf("error %v, panic %v", err, panicked)
				}
			case panics:
				if text := fmt.Sprint(panicked); !strings.Contains(text, string(want)) {
					t.Errorf("panic %v (error %v), want %q", panicked, err, want)
				}
			case says:
				if panicked != nil || err == nil || !strings.HasPrefix(err.Error(), string(want)) {
					t.Errorf("error %v, panic %v, want %q", err, panicked, want)
				}
			case error:
				if panicked != nil || !errors.Is(err, want) {
					t.Errorf("error %v (%T), panic %v, want %v", err, err, panicked, want)
				}
			default:
				if panicked != nil || err == nil || !errors.As(err, want) {
					t.Errorf("error %v (%T), panic %v, want a %T", err, err, panicked, want)
				}
			}
		})
	}
}

func try(t *testing.T, call func(*testing.T) error) (panicked any, err error) {
	defer func() { panicked = recover() }()
	return nil, call(t)
}

// packages are those that the table must have every function of, as folders: all that a program would import, but the root,
// which has its own table.
func packages(t *testing.T) []string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{if ne .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	list.Dir = "../../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for path := range strings.FieldsSeq(string(out)) {
		folder, ok := strings.CutPrefix(path, "github.com/tokenthrottle/throttle/")
		if ok && !strings.Contains("/"+folder+"/", "/internal/") && !strings.HasPrefix(folder, "examples/") {
			folders = append(folders, folder)
		}
	}
	if len(folders) < 10 {
		t.Fatalf("only %q found", folders)
	}
	return folders
}

// cannotBeWrong are the functions whose every argument is good, or whose bad ones are tried elsewhere, with the reason.
var cannotBeWrong = map[string]string{
	"openai.Counter.Count": "as Count", "openai.NeverFits": "any text", "openai.Permanent": "any text", "openai.Encoding": "any name is a model's", "openai.Family": "as Encoding", "anthropic.Family": "as Encoding",
	"openai.Limits.Quotas": "bad limits are refused where the model is used", "anthropic.Limits.Quotas": "as openai's",
	"openai.Transport.CloseIdleConnections": "no arguments", "anthropic.Transport.CloseIdleConnections": "no arguments",
	"openai.Usage.Total": "no arguments", "anthropic.Usage.Limited": "no arguments",
	"openai.NewUsageReader": "a truth", "anthropic.NewUsageReader": "a truth",
	"openai.UsageReader.Write": "anything is an answer; FuzzMeter", "anthropic.UsageReader.Write": "as openai's",
	"openai.UsageReader.Usage": "no arguments", "anthropic.UsageReader.Usage": "no arguments",
	"openai.ReadUsage": "anything is an answer; FuzzMeter", "anthropic.ReadUsage": "as openai's",
	"openai.Tiktoken.Count": "any text can be counted; FuzzCount", "openai.Tiktoken.Knows": "any name is a model's",
	"openai.Tiktoken.Load": "any name is a model's",

	"driver.Frees": "of what Apply was given and gave", "driver.NewNamer": "no arguments", "driver.Namer.Take": "no arguments",
	"driver.Name.Done": "no arguments", "driver.Name.String": "no arguments", "driver.Schemes": "no arguments", "driver.Query.Err": "no arguments",
	"driver.Query.Duration": "TestOpenErrors", "driver.Query.Int": "TestOpenErrors", "driver.Query.Bool": "TestOpenErrors",
	"driver.Query.Rest": "no arguments", "driver.Query.String": "any text",

	"driver.Do": "State.Apply checks operations", "driver.ApplyLocal": "as Do", "driver.FreesAny": "as Frees", "bucket.State.Do": "as Apply",
	"driver/memory.Driver.Pin":   "the limiter bounds the key",
	"driver/memory.Driver.Close": "no arguments", "driver/memory.Driver.Len": "no arguments", "driver/memory.Driver.Now": "no arguments", "driver/memory.Driver.Keys": "no arguments",
	"driver/memory.Driver.Notify": "a function",
	"driver/bolt.Driver.Close":    "no arguments", "driver/bolt.Driver.Keys": "no arguments",
	"driver/redis.Driver.Keys": "no arguments", "driver/redis.Driver.Notify": "a function", "driver/redis.Driver.Close": "no arguments",
	"driver/redis.Driver.Apply":        "TestConformance: numbers, keys, closing",
	"driver/postgres.Driver.Apply":     "TestConformance: numbers, keys, closing",
	"driver/postgres.Driver.Close":     "no arguments",
	"driver/postgres.Driver.Keys":      "no arguments",
	"driver/postgres.Driver.Prune":     "no arguments",
	"driver/postgres.Driver.Stats":     "no arguments",
	"driver/postgres.Notifying.Notify": "a function",

	"throttlehttp.Page.Close": "no arguments", "throttlehttp.Page.ServeHTTP": "TestOnlyReadingIsAllowed: bad requests get a status",

	"conformance.Bench": "a function", "conformance.Run": "TestOptionsThatCannotBe, in its own package",

	"bucket.State.Expect": "of a state", "bucket.State.Ready": "of a state", "bucket.State.Encode": "of a state",
	"bucket.State.Timeless": "of a state", "bucket.State.Clone": "of a state", "bucket.State.AbsentAt": "of a state",
	"bucket.State.Absent": "of a state", "bucket.MicrosOf": "saturates; TestMicros", "bucket.At": "saturates; TestMicros",
	"bucket.Micros.Duration": "saturates; TestMicros", "bucket.Micros.Time": "any number is an instant",
	"bucket.Op.Valid": "with State.Apply", "bucket.Limits.Len": "no arguments", "bucket.Limits.Quota": "an index, as into a slice", "bucket.Limits.Resources": "no arguments",
	"bucket.Limits.ResourceOf": "an index", "bucket.Limits.Resource": "an index", "bucket.Limits.Find": "a quota that isn't there has none",
	"bucket.Bucket.Full": "of a bucket", "bucket.Bucket.Rate": "of a bucket", "bucket.Bucket.Cap": "of a bucket",
	"bucket.Kind.String": "any number", "bucket.Status.String": "any number",
}

// Every public function has a row, or a reason to need none; and no reason outlives its function.
func TestTableIsComplete(t *testing.T) {
	covered := map[string]bool{}
	for _, r := range table() {
		covered[r.function] = true
	}
	declared := map[string]bool{}
	for _, folder := range packages(t) {
		files, err := filepath.Glob(filepath.Join("../../..", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range parsed.Decls {
				if name := public(d); name != "" {
					declared[folder+"."+name] = true
				}
			}
		}
	}
	for name := range declared {
		if !covered[name] && cannotBeWrong[name] == "" {
			t.Errorf("%s has no row in the table of bad input, nor a reason why it needs none", name)
		}
	}
	for name := range covered {
		if !declared[name] {
			t.Errorf("the table has %s, which isn't there", name)
		}
	}
	for name := range cannotBeWrong {
		if !declared[name] {
			t.Errorf("%s has a reason to need no row, and isn't there", name)
		}
		if covered[name] {
			t.Errorf("%s has a reason to need no row, and has one", name)
		}
	}
}

// public is the name of an exported function or method; empty for others, and for the methods of errors.
func public(d ast.Decl) string {
	f, ok := d.(*ast.FuncDecl)
	if !ok || !f.Name.IsExported() {
		return ""
	}
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	ident, ok := receiver.(*ast.Ident)
	if !ok || !ident.IsExported() || strings.HasSuffix(ident.Name, "Error") {
		return ""
	}
	return ident.Name + "." + f.Name.Name
}

var ctx = context.Background()
