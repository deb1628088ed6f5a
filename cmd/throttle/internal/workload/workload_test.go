package workload

import (
	"encoding/json"
	"testing"
)

func TestLoadCountsWhatItSends(t *testing.T) {
	w, err := Load(1000)
	if err != nil {
		t.Fatal(err)
	}
	if w.Source == "" {
		t.Fatal("the sources of Go that runs this test were not found")
	}
	if n := len(w.Requests); n < 150 {
		t.Fatalf("%d requests: the standard library has more packages", n)
	}
	seen := map[string]bool{}
	for _, r := range w.Requests {
		seen[r.Name] = true
		var body struct {
			Model    string
			Messages []struct{ Role, Content string }
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatalf("%s: %v", r.Name, err)
		}
		want := 3
		for _, m := range body.Messages {
			want += 4 + w.Count(body.Model, m.Content)
		}
		if r.Input != want || r.Reserve != want+1000 {
			t.Errorf("%s: input %d and reserve %d, want %d and %d", r.Name, r.Input, r.Reserve, want, want+1000)
		}
	}
	for _, name := range []string{"fmt", "net/http", "internal/poll"} {
		if !seen[name] {
			t.Errorf("no request for package %s", name)
		}
	}
	for _, name := range []string{"cmd/go", "vendor/golang.org/x/net/idna", "."} {
		if seen[name] {
			t.Errorf("a request for %s, which is not a package of the standard library", name)
		}
	}
}

func TestStandInsHaveTheRealSizes(t *testing.T) {
	packages := standIns()
	if len(packages) < 300 {
		t.Fatalf("%d stand-ins", len(packages))
	}
	for _, p := range packages {
		r, err := newRequest(p, 10)
		if err != nil {
			t.Fatal(err)
		}
		if r.Input < 40 || r.Input > 30_000 {
			t.Errorf("%s: %d tokens", p.name, r.Input)
		}
	}
}
