package conformance

import (
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/driver"
)

// Options that can't be are told of before anything is tried.
func TestOptionsThatCannotBe(t *testing.T) {
	another := func(testing.TB, driver.Driver) driver.Driver { return nil }
	inject := func(testing.TB, driver.Driver) func() { return nil }
	for _, c := range []struct {
		what    string
		options Options
		canOpen bool
		want    string
	}{
		{"nothing to open", Options{}, false, "open is nil"},
		{"alone, and not", Options{Alone: true, Another: another}, true, "Options.Another"},
		{"patience below 0", Options{Patience: -1}, true, "Options.Patience"},
		{"a fault without a name", Options{Faults: []Fault{{Inject: inject}}}, true, "Options.Faults[0]"},
		{"a fault that does nothing", Options{Faults: []Fault{{Name: "a", Inject: inject}, {Name: "b"}}}, true, "Options.Faults[1]"},
		{"none", Options{}, true, ""},
		{"good ones", Options{Another: another, Faults: []Fault{{Name: "a", Inject: inject}}}, true, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := c.options.problem(c.canOpen)
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("problem %q, want %q", got, c.want)
			}
		})
	}
}
