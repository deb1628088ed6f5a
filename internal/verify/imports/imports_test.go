// Package imports holds the module to its import rule: what a program links, and what lands in its go.sum, is what it
// uses.
package imports

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tokenthrottle/throttle"

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// deps lists what a package links besides the standard library, in this module by short names.
func deps(t *testing.T, pkg string, tests bool) []string {
	t.Helper()
	args := []string{"list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}"}
	if tests {
		args = append(args, "-test")
	}
	out, err := exec.Command("go", append(args, module+pkg)...).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", pkg, err)
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		path, _, _ := strings.Cut(strings.TrimSpace(line), " ") // "p [p.test]" is p as its test sees it
		path = strings.TrimSuffix(strings.TrimSuffix(path, ".test"), "_test")
		if path != "" && !slices.Contains(list, path) {
			list = append(list, path)
		}
	}
	return list
}

func foreign(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(p string) bool { return p == module || strings.HasPrefix(p, module+"/") })
}

func TestWhatPackagesLink(t *testing.T) {
	for _, c := range []struct {
		pkg    string
		own    []string // packages of this module; nil: any
		others []string // prefixes of foreign modules allowed, its tests included
	}{
		{"/bucket", []string{"/bucket"}, nil},
		{"/driver", []string{"/bucket", "/driver"}, nil},
		{"/driver/memory", []string{"/bucket", "/driver", "/driver/memory"}, nil},
		{"/driver/fallback", []string{"/bucket", "/driver", "/driver/fallback", "/internal/presence"}, nil},
		{"/driver/bolt", []string{"/bucket", "/driver", "/driver/bolt"}, []string{"go.etcd.io/bbolt", "golang.org/x/sys"}},
		{"/driver/redis", []string{"/bucket", "/driver", "/driver/redis", "/internal/redisscript"}, []string{"github.com/redis/go-redis", "github.com/cespare/xxhash", "github.com/dgryski/go-rendezvous"}},
		{"/driver/postgres", []string{"/bucket", "/driver", "/driver/postgres"}, []string{"github.com/jackc/", "golang.org/x/"}},
		{"", []string{"/bucket", "/driver", "", "/internal/period"}, nil},
		{"/conformance", nil, nil},
		{"/openai", nil, []string{"github.com/pkoukk/", "github.com/dlclark/regexp2", "github.com/google/uuid"}},
		{"/anthropic", nil, nil},
		{"/prometheus", []string{"", "/bucket", "/driver", "/internal/period", "/internal/statuses", "/internal/tally", "/prometheus"}, []string{
			"github.com/prometheus/", "github.com/beorn7/perks", "github.com/cespare/xxhash", "google.golang.org/protobuf", "golang.org/x/sys"}},
		{"/otel", []string{"", "/bucket", "/driver", "/internal/period", "/internal/statuses", "/internal/tally", "/otel"}, []string{
			"go.opentelemetry.io/otel", "github.com/go-logr/"}},
		{"/throttlehttp", []string{"", "/bucket", "/driver", "/internal/period", "/internal/presence", "/internal/statuses", "/internal/tally", "/internal/watch", "/throttlehttp"}, nil},
	} {
		t.Run("throttle"+c.pkg, func(t *testing.T) {
			linked := deps(t, c.pkg, false)
			for _, p := range linked {
				if short, ours := strings.CutPrefix(p, module); ours && c.own != nil && !slices.Contains(c.own, short) {
					t.Errorf("links %s, which it must not know", p)
				}
			}
			// What its tests import lands in a user's go.sum too.
			for _, p := range foreign(append(linked, deps(t, c.pkg, true)...)) {
				if !slices.ContainsFunc(c.others, func(prefix string) bool { return strings.HasPrefix(p, prefix) }) {
					t.Errorf("links %s, also in the programs of those who don't need it", p)
				}
			}
		})
	}
}

// What shows a limiter brings its own client and no store's, nor a tokenizer, to a program that uses it.
func TestConsumersOfMetricsInheritOneClient(t *testing.T) {
	for _, c := range []struct {
		pkg     string
		modules []string // prefixes of what may land in the consumer's go.sum
	}{
		{"/prometheus", []string{"github.com/prometheus/", "github.com/beorn7/perks", "github.com/cespare/xxhash", "google.golang.org/protobuf", "golang.org/x/sys"}},
		{"/otel", []string{"go.opentelemetry.io/otel", "github.com/go-logr/"}},
		{"/throttlehttp", nil},
	} {
		t.Run("throttle"+c.pkg, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("go.mod", "module example.com/consumer\n\ngo 1.25\n\nrequire "+module+" v0.0.0\n\nreplace "+module+" => "+root(t)+"\n")
			write("main.go", "package main\n\nimport (\n\t_ \""+module+c.pkg+"\"\n\t_ \""+module+"/driver/memory\"\n)\n\nfunc main() {}\n")
			// The versions that this module requires: without them the consumer would ask a proxy for the latest.
			requires, err := os.ReadFile(filepath.Join(root(t), "go.sum"))
			if err != nil {
				t.Fatal(err)
			}
			write("go.sum", string(requires))
			for _, args := range [][]string{{"mod", "edit", "-go=1.25"}, {"list", "-mod=mod", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "."}} {
				cmd := exec.Command("go", args...)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GONOSUMDB=*", "GONOSUMCHECK=1")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				if args[0] != "list" {
					continue
				}
				for line := range strings.Lines(string(out)) {
					path := strings.TrimSpace(line)
					ours := path == "" || path == module || path == "example.com/consumer"
					if !ours && !slices.ContainsFunc(c.modules, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
						t.Errorf("a program with %s links %s", c.pkg, path)
					}
				}
			}
		})
	}
}

// A program that uses memory alone inherits nothing: it builds in an empty folder, without a module proxy, and its
// go.sum stays empty.
func TestConsumerInheritsNothing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/consumer\n\ngo 1.25\n\nrequire "+module+" v0.0.0\n\nreplace "+module+" => "+root(t)+"\n")
	write("main.go", `package main

import (
	"context"
	"fmt"

	"`+module+`"
	"`+module+`/driver/memory"
)

func main() {
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 60)))
	res, err := lim.Acquire(context.Background(), "m", throttle.Usage{"requests": 1})
	fmt.Println(res.Settle(context.Background(), nil), err)
}
`)
	run := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("mod", "tidy")
	if got := run("run", "."); got != "<nil> <nil>\n" {
		t.Errorf("the program printed %q", got)
	}
	if sum, err := os.ReadFile(filepath.Join(dir, "go.sum")); err == nil && len(sum) > 0 {
		t.Errorf("go.sum is not empty:\n%s", sum)
	}
}
