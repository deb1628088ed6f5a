package main

import (
	"testing"
	"time"
)

// TestSaturate drives each SDK for a few seconds. The figures of a longer run, on a quiet machine, are in docs/openai.md
// and docs/anthropic.md.
func TestSaturate(t *testing.T) {
	for _, c := range clients() {
		for _, streaming := range []bool{false, true} {
			r, err := saturate(c, streaming, 4*time.Second)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			t.Logf("%+v", r)
			if r.Rejected > r.Requests/200 || r.Share < 0.5 {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestBeside(t *testing.T) {
	b, err := runBeside(true, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", b)
	if b.PerThousand > 5 {
		t.Errorf("%+v", b)
	}
}
