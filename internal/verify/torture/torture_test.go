package main

import (
	"os"
	"testing"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) {
	child()
	testservice.Main(m)
}

// Every fault once that needs no server of its own; those are left to `make torture`. With -short only lost answers.
func TestTorture(t *testing.T) {
	jobs := []Job{{Short: true, Shared: true}}
	if testing.Short() {
		jobs = []Job{{Short: true, Shared: true, Fault: "answer"}}
	}
	for _, job := range jobs {
		rows, err := Torture(job, func(r Row) { t.Log(r) })
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			t.Fatal("no fault was tried")
		}
		for _, r := range rows {
			if r.NotTried != "" && os.Getenv("CI") == "true" {
				t.Errorf("%s, %s: not tried, and with CI=true all must be: %s", r.Driver, r.Fault, r.NotTried)
			}
			if r.Minted > 0 {
				t.Errorf("%s, %s: %g tokens were minted", r.Driver, r.Fault, r.Minted)
			}
			for _, p := range r.Problems {
				t.Errorf("%s, %s: %s", r.Driver, r.Fault, p)
			}
		}
	}
}
