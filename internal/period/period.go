// Package period writes the periods of quotas, as labels and on pages.
package period

import (
	"strconv"
	"strings"
	"time"
)

// String is like "1s", "10s", "1m", "1h", "1d": the zeros that time.Duration adds are left out.
func String(d time.Duration) string {
	const day = 24 * time.Hour
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
