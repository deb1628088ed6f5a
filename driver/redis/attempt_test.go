package redis

import (
	"context"
	"testing"
)

// A job whose last answer has come isn't abandoned any more, though it isn't over: what became of it is known.
func TestAnAnsweredJobIsNotAbandoned(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		states []callState
		ends   bool // abandon ends the wait
	}{
		{[]callState{applied}, false},
		{[]callState{applied, failed}, false},
		{[]callState{applied, pending}, true},
		{[]callState{pending}, true},
	} {
		j := &job{done: make(chan struct{}), d: &Driver{}}
		for _, s := range c.states {
			j.calls = append(j.calls, &call{state: s})
		}
		err, ended := j.abandon(ctx)
		if ended != c.ends || (err != nil) != c.ends {
			t.Errorf("%v: error %v, ended %v, want %v", c.states, err, ended, c.ends)
		}
	}
}
