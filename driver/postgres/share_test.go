package postgres

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A slow server isn't given up while there is time, and a short time is not cut in half.
func TestShareOfAnAttempt(t *testing.T) {
	for left, want := range map[time.Duration]time.Duration{
		10 * time.Second:        5 * time.Second,
		4 * time.Second:         2 * time.Second,
		1500 * time.Millisecond: time.Second,
		500 * time.Millisecond:  time.Second, // ctx ends sooner
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			if got := share(ctx); got != want {
				t.Errorf("of %v an attempt gets %v, want %v", left, got, want)
			}
		})
	}
}
