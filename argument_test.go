package throttle_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
)

// A value is shown as it would be written, and a text, which may be anybody's, so that it can't forge a line in a log.
func TestArgumentErrorShowsTheValue(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{-5, "throttle: x is -5: want y"},
		{0.25, "throttle: x is 0.25: want y"},
		{-time.Second, "throttle: x is -1s: want y"},
		{nil, "throttle: x is <nil>: want y"},
		{"a\nb", `throttle: x is "a\nb": want y`},
	} {
		if got := (&throttle.ArgumentError{Argument: "x", Value: c.value, Want: "y"}).Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	long := (&throttle.ArgumentError{Argument: "x", Value: string(make([]byte, 1<<20)), Want: "y"}).Error()
	if len(long) > 300 {
		t.Errorf("an error of %d bytes", len(long))
	}
}

// An error says what can be done about it, or what the store said.
func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&throttle.FullError{What: "waiters", Max: 3}, "throttle: there are 3 waiters already: raise the limit, or slow down"},
		{&throttle.FullError{What: "waiters", Max: 3, Shed: true}, "throttle: made room for a call of higher priority: there are 3 waiters already"},
		{&throttle.TooLargeError{Family: "f", Resource: "tokens", Per: time.Minute, Usage: 9, Burst: 5},
			"throttle: f: 9 tokens at once can never fit into 5 per 1m: ask for less, or raise the burst"},
		{&throttle.TooLargeError{Family: "f", Resource: "tokens", Per: time.Minute, Usage: 9},
			"throttle: f: 9 tokens at once can never fit into the limit per 1m that was set at run time: ask for less, or raise or clear that limit"},
		{&throttle.TooLargeError{Family: "f\nERROR all is lost", Resource: "tokens", Per: 24 * time.Hour, Usage: 2_000_000, Burst: 1_500_000},
			`throttle: "f\nERROR all is lost": 2000000 tokens at once can never fit into 1500000 per 1d: ask for less, or raise the burst`},
		{&throttle.StoreError{Doing: "settle", Family: "f", Err: errors.New("gone")}, "throttle: settle f: gone"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
