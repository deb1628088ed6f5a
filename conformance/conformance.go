// Package conformance tests a driver against the contract in package driver.
//
// # Basics
//
// In a test of the driver:
//
//	func TestConformance(t *testing.T) {
//		conformance.Run(t, func(t testing.TB) driver.Driver {
//			d, err := mine.Open(t.TempDir() + "/limits")
//			if err != nil {
//				t.Fatal(err)
//			}
//			return d
//		}, nil)
//	}
//
// Each clause is a subtest that begins with a fresh driver, and each failure quotes the sentence that was broken. What
// can't be tried, for want of something in [Options] or because the driver doesn't implement an optional interface, is
// reported by name as not covered; [Options.Complete] makes the former a failure.
//
// The suite never assumes that the store's clock is this machine's, and never waits for a set time: instants are those
// of [driver.Response]. Randomness is seeded; a failure prints the seed.
//
// # Caveats
//
// What the suite can't see: whether a driver that keeps nothing in memory survives its process being killed, whether
// the clock is the store's or a program's own as long as both agree, and a lost update that needs more luck than a few
// hundred concurrent operations have. Run it with -race too: a driver that goes on reading a batch after Apply has
// returned shows there first.
package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Options say what can be done with a store besides opening it. nil, like the zero Options, means: nothing, and what
// needs more is reported as not covered. A func that must fail calls tb.Fatal.
type Options struct {
	// Another opens another instance over the same state as d, as another process that shares the store would.
	Another func(tb testing.TB, d driver.Driver) driver.Driver
	// Reopen opens the state that d kept; the suite has closed d. nil for a store that keeps nothing.
	Reopen func(tb testing.TB, d driver.Driver) driver.Driver
	// SetClock sets the store's clock, as far as d and instances from Another and Reopen see it, to now; from then on
	// it stands still. It may be set back, but never behind the store's real clock, so that a store which expires keys by
	// a clock that can't be set drops nothing too soon.
	SetClock func(tb testing.TB, d driver.Driver, now bucket.Micros)
	// Faults are ways in which the connection to the store breaks.
	Faults []Fault

	// Alone says that no second instance can share the state, so that Another can't be: one process holds it.
	Alone bool
	// Complete makes whatever is not covered a failure, but for optional interfaces that the driver doesn't implement
	// and for what a store that is Alone can't have.
	Complete bool
	// Patience is how long a call that must return promptly may take before it counts as hanging; 0 means 10 s.
	Patience time.Duration
	// Seed is where randomness starts; 0 means a new one each time.
	Seed uint64
}

// Fault is a way in which the connection to a store breaks: the answer is lost after the store did the work, the
// request is lost, nothing answers.
type Fault struct {
	Name string
	// Inject breaks the connection of d; what it breaks stays broken, or breaks again and again, until end is called.
	Inject func(tb testing.TB, d driver.Driver) (end func())
}

// clause is one demand of the contract.
type clause struct {
	name string
	// quote is the sentence, word for word, of the documentation of package driver or bucket that demands it.
	quote string
	// needs is what must be there to try it; nil for nothing.
	needs *capability
	test  func(*probe)
}

// capability is something that a clause needs and that not every driver or [Options] has.
type capability struct {
	name string
	has  func(*Options) bool
}

var (
	needsAnother  = &capability{"Options.Another", func(o *Options) bool { return o.Another != nil }}
	needsReopen   = &capability{"Options.Reopen", func(o *Options) bool { return o.Reopen != nil }}
	needsSetClock = &capability{"Options.SetClock", func(o *Options) bool { return o.SetClock != nil }}
	needsFaults   = &capability{"Options.Faults", func(o *Options) bool { return len(o.Faults) > 0 }}
)

// clauses are all demands, in the order in which they are tried: what is simple first.
func clauses() []clause {
	return slices.Concat(answers(), keys(), numbers(), atomicity(), batches(), differentials(), memories(), concurrency(),
		contexts(), closing(), lines(), clocks(), expiry(), faults(), optional())
}

// problem says what in the options can't be; empty for nothing.
func (o *Options) problem(canOpen bool) string {
	switch {
	case !canOpen:
		return "open is nil: there is nothing to try"
	case o.Alone && o.Another != nil:
		return "Options.Alone says that no second instance can share the state, and Options.Another opens one"
	case o.Patience < 0:
		return "Options.Patience is below 0: every call would hang"
	}
	for i, f := range o.Faults {
		if f.Name == "" || f.Inject == nil {
			return fmt.Sprintf("Options.Faults[%d] has no name or no Inject", i)
		}
	}
	return ""
}

// Run holds the driver to its contract. open returns a fresh driver in a keyspace of its own, in which no key was ever
// used; the suite closes it, and opens up to a hundred.
func Run(t *testing.T, open func(tb testing.TB) driver.Driver, opts *Options) {
	t.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if problem := o.problem(open != nil); problem != "" {
		t.Fatal("conformance: " + problem)
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	var missing []string
	held, complete := 0, true
	for _, c := range clauses() {
		t.Run(c.name, func(t *testing.T) {
			v := try(t, c, open, &o)
			switch {
			case len(v.failures) > 0:
				t.Errorf("the contract says: %q\n%s\n(seed %d)", c.quote, strings.Join(v.failures, "\n"), o.Seed)
			case v.notCovered != "":
				t.Logf("NOT COVERED: %s", v.notCovered)
				missing = append(missing, c.name+" ("+v.notCovered+")")
				complete = complete && (v.byNature || o.Alone && c.needs == needsAnother)
			default:
				held++
			}
		})
	}
	t.Logf("conformance: %d clauses hold", held)
	if len(missing) > 0 {
		report := t.Logf
		if o.Complete && !complete {
			report = t.Errorf
		}
		report("conformance: %d clauses NOT COVERED: %s", len(missing), strings.Join(missing, ", "))
	}
}
