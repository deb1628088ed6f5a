package main

import (
	"errors"
	"testing"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) {
	child()
	testservice.Main(m)
}

// Every fault once, on both stores at a time; with -short only lost answers.
func TestTorture(t *testing.T) {
	which := ""
	if testing.Short() {
		which = "cut-after"
	}
	for _, driver := range []string{"redis", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			rows, err := Torture(driver, which, true, func(r Row) { t.Logf("%+v", r) })
			var none missing
			if errors.As(err, &none) {
				t.Skip(none)
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) == 0 {
				t.Fatal("no fault was tried")
			}
			for _, r := range rows {
				if r.Minted > 0 {
					t.Errorf("%s: %g tokens were minted", r.Fault, r.Minted)
				}
				for _, p := range r.Problems {
					t.Errorf("%s: %s", r.Fault, p)
				}
			}
		})
	}
}
