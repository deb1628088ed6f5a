package throttle_test

import (
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
