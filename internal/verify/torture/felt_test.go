package main

import (
	"testing"
	"time"
)

// Each fault must say how it shows that it bit.
func TestEveryFaultMustBeFelt(t *testing.T) {
	for store, faults := range map[string][]fault{"redis": redisFaults(), "postgres": postgresFaults()} {
		for _, f := range faults {
			if f.felt.none() && !f.amnesia {
				t.Errorf("%s, %s: a run where it doesn't bite would pass", store, f.name)
			}
		}
	}
}

// A fault that nobody feels is missed, by each of the ways in which it could be felt.
func TestFaultThatDoesNotBiteIsMissed(t *testing.T) {
	began := time.Now().Add(-time.Second)
	quick := func() *fleet {
		fl := &fleet{ledger: newLedger(), stepped: make(chan struct{}, 1)}
		fl.ledger.note(0, time.Now(), &answer{granted: 1}, nil)
		return fl
	}
	same := func(*site) (string, error) { return "the same", nil }
	for name, f := range map[string]felt{
		"failing": {failing: true}, "silent": {silent: true}, "slow": {slow: 300 * time.Millisecond},
		"stepped": {stepped: true}, "changed": {changed: same},
	} {
		s := &site{}
		before, err := f.before(s)
		if err != nil {
			t.Fatal(err)
		}
		if missed := before.missed(s, quick(), began, time.Now()); len(missed) != 1 {
			t.Errorf("%s: missed %q, want one thing", name, missed)
		}
	}
}
