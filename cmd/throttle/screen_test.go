package main

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batch"
)

func TestBatchLine(t *testing.T) {
	half := batch.Snapshot{Lines: 500, Bytes: 50_000, Size: 100_000, Skipped: 100, Succeeded: 380, Failed: 10, Rejected: 10,
		InFlight: 12, Waiting: 30, Binding: "tokens", Per: time.Minute, Rejected429: 3, Trouble: "status 500: \x1b[31moops\n"}
	for _, c := range []struct {
		snap      batch.Snapshot
		want, not []string
	}{
		{half, []string{"500/~1k  50 %", "12 in flight", "bound by tokens/minute", "20 failed", "3 × 429", "trying again: status 500:"}, []string{"\x1b", "\n", "ETA"}},
		{batch.Snapshot{Lines: 7, Succeeded: 7, Bytes: 70}, []string{"7 · 0 in flight"}, []string{"%", "bound"}},
		{batch.Snapshot{Lines: 7, Waiting: 2}, []string{"paused by the provider"}, nil},
		{batch.Snapshot{Lines: 7, InFlight: 2}, []string{"bound by the answers' time"}, nil},
	} {
		line := new(batchScreen).line(c.snap)
		for _, w := range c.want {
			if !strings.Contains(line, w) {
				t.Errorf("no %q in %q", w, line)
			}
		}
		for _, n := range c.not {
			if strings.Contains(line, n) {
				t.Errorf("%q in %q", n, line)
			}
		}
	}
	s := &batchScreen{}
	for i := range 61 {
		at := batch.Snapshot{Lines: 10 * i, Bytes: int64(100 * i), Size: 12_000, Succeeded: 10 * i, TokensUsed: int64(1000 * i), Elapsed: time.Duration(i) * time.Second}
		s.pace.add(at)
		if i == 60 {
			if line := s.line(at); !strings.Contains(line, "600 requests/min · 60k tokens/min · ETA 60.0 s") {
				t.Errorf("%q", line)
			}
		}
	}
}

func TestPaceFollowsAndForgets(t *testing.T) {
	var p pace
	now := batch.Snapshot{}
	run := func(seconds, each int) {
		for range 5 * seconds {
			now.Elapsed += 200 * time.Millisecond
			now.Succeeded += each
			p.add(now)
		}
	}
	run(3, 20)
	if math.Abs(p.requests-100) > 1 {
		t.Errorf("after a start at 100 a second: %v", p.requests)
	}
	run(120, 2)
	if math.Abs(p.requests-10) > 1 {
		t.Errorf("after two minutes at 10 a second: %v", p.requests)
	}
}

func TestBatchScreenIsQuietWhenTold(t *testing.T) {
	var out bytes.Buffer
	p := &program{stderr: &out, getenv: func(string) string { return "" }}
	for _, quiet := range []bool{true, false} {
		out.Reset()
		s := newBatchScreen(p, quiet)
		s.every = time.Millisecond
		asked := make(chan struct{}, 1000)
		s.start(func() batch.Snapshot { asked <- struct{}{}; return batch.Snapshot{Lines: 1} })
		if !quiet {
			<-asked
			<-asked // the first line is out
		}
		s.stop()
		if said := out.String(); (said == "") != quiet || strings.ContainsAny(said, "\r\x1b") {
			t.Errorf("quiet %v: %q", quiet, said)
		}
	}
}

func TestNamesOfOthersMoveNoCursor(t *testing.T) {
	for name, want := range map[string]string{
		"gpt-4.1": "gpt-4.1", "": `""`, "a\x1b[2Jb": `"a\x1b[2Jb"`, "é日": "é日", "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`,
		strings.Repeat("x", 99): strings.Repeat("x", 39) + "…",
	} {
		if got := printable(name); got != want {
			t.Errorf("%q is shown as %q, want %q", name, got, want)
		}
	}
}
