package conformance

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/driver"
)

// broken is a driver with one flaw, and the clause that must find it.
type broken struct {
	name   string
	clause string
	says   string // part of what the failure must say: that it is this flaw which was found
	flaw   flaw
}

// TestBroken holds the suite to its purpose: each flaw is found by the clause it breaks, for the reason it is one.
func TestBroken(t *testing.T) {
	for _, b := range allBroken() {
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) {
			all := clauses()
			at := slices.IndexFunc(all, func(c clause) bool { return c.name == b.clause })
			if at < 0 {
				t.Fatalf("there is no clause %q", b.clause)
			}
			opts := *able()
			opts.Patience = 5 * time.Second
			if strings.Contains(b.says, "did not return") || strings.Contains(b.says, "hangs") || strings.Contains(b.says, "never called") {
				opts.Patience = 300 * time.Millisecond // it takes all of it
			}
			// A flaw that needs luck to show gets some.
			for opts.Seed = 1; opts.Seed <= 40; opts.Seed++ {
				v := try(t, all[at], func(testing.TB) driver.Driver { return newSubject(b.flaw) }, &opts)
				if len(v.failures) == 0 {
					continue
				}
				if text := strings.Join(v.failures, "\n"); !strings.Contains(text, b.says) {
					t.Errorf("clause %s fails, but not for what is broken: it says\n%s\nand not %q", b.clause, text, b.says)
				}
				return
			}
			t.Errorf("clause %s holds for a driver that breaks it", b.clause)
		})
	}
}

// TestEveryClauseBites sees that each clause has a driver that breaks it.
func TestEveryClauseBites(t *testing.T) {
	bitten := map[string]bool{}
	for _, b := range allBroken() {
		bitten[b.clause] = true
	}
	for _, c := range clauses() {
		if !bitten[c.name] {
			t.Errorf("no driver breaks clause %s", c.name)
		}
	}
}

func allBroken() []broken {
	return slices.Concat(brokenAnswers(), brokenKeys(), brokenNumbers(), brokenRequests(), brokenCallers(), brokenTime(), brokenOptional())
}
