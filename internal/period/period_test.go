package period_test

import (
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/internal/period"
)

func TestString(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h",
		24 * time.Hour: "1d", 30 * 24 * time.Hour: "30d", 36 * time.Hour: "36h", time.Hour + time.Minute: "1h1m",
		time.Hour + time.Second: "1h0m1s", 50 * time.Millisecond: "50ms", 0: "0s", time.Microsecond: "1µs",
	} {
		if got := period.String(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
		if d < 24*time.Hour {
			if back, err := time.ParseDuration(want); err != nil || back != d {
				t.Errorf("%q reads as %v, %v", want, back, err)
			}
		}
	}
}
