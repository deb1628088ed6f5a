package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/report"
)

// Who waits stands below the levels: in order, for what, by which quota, how long already, and how long still.
func TestStatusShowsTheLine(t *testing.T) {
	now := time.Unix(1e9, 0)
	place := func(flow string, resource string, expected time.Duration) throttle.PlaceStatus {
		return throttle.PlaceStatus{Flow: flow, Priority: 5, Usage: throttle.Usage{"tokens": 14_000, "requests": 1}, Since: now.Add(-12 * time.Second),
			Resource: resource, Per: time.Minute, Expected: expected}
	}
	busy := throttle.Status{Family: "gpt-4.1", Now: now, Line: []throttle.PlaceStatus{
		place("production", "tokens", 3400*time.Millisecond), place("evil\x1b[2J", "requests", time.Minute)}}
	paused := throttle.Status{Family: "paused", Now: now, Paused: now.Add(time.Minute), Line: []throttle.PlaceStatus{place("batch", "", time.Minute)}}
	long := throttle.Status{Family: "long", Now: now}
	for range maxPlaces + 5 {
		long.Line = append(long.Line, place("batch", "tokens", time.Hour))
	}
	text := lineTable(report.Style{}, []throttle.Status{busy, {Family: "quiet", Now: now}, paused, long})
	var lines [][]string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Fields(line))
	}
	for i, want := range []string{
		"gpt-4.1 1 production 5 1 request, 14k tokens tokens/minute 12.0 s 3.4 s",
		`2 "evil\x1b[2J" 5 1 request, 14k tokens requests/minute 12.0 s 60.0 s`,
		"paused 1 batch 5 1 request, 14k tokens the pause 12.0 s 60.0 s",
	} {
		if got := strings.Join(lines[i+2], " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	if !strings.Contains(text, "and 5 more") || strings.Contains(text, "quiet") || strings.Contains(text, "\x1b") {
		t.Errorf("\n%s", text)
	}
	if got := lineTable(report.Style{}, []throttle.Status{{Family: "quiet"}}); got != "" {
		t.Errorf("nobody waits:\n%s", got)
	}
}
