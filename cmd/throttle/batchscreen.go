package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batch"
	"github.com/tokenthrottle/throttle/internal/report"
)

// batchScreen shows a batch's progress on standard error: one line that is drawn again on a terminal, a line now and then
// elsewhere.
type batchScreen struct {
	out      io.Writer
	terminal terminal
	quiet    bool
	every    time.Duration

	done chan struct{}
	wg   sync.WaitGroup
	pace pace
}

const (
	redraw      = 200 * time.Millisecond
	plainReport = 10 * time.Second
)

func newBatchScreen(p *program, quiet bool) *batchScreen {
	s := &batchScreen{out: p.stderr, terminal: p.look(p.stderr), quiet: quiet, done: make(chan struct{}), every: plainReport}
	if s.terminal.is {
		s.every = redraw
	}
	return s
}

// start begins to show what now tells.
func (s *batchScreen) start(now func() batch.Snapshot) {
	if s.quiet {
		return
	}
	s.wg.Go(func() {
		ticker := time.NewTicker(s.every)
		defer ticker.Stop()
		for {
			select {
			case <-s.done:
				if s.terminal.is {
					fmt.Fprint(s.out, "\r\x1b[K")
				}
				return
			case <-ticker.C:
			}
			snap := now()
			s.pace.add(snap)
			line := s.line(snap)
			if s.terminal.is {
				fmt.Fprint(s.out, "\r\x1b[K"+cut(line, s.terminal.columns-1))
			} else {
				fmt.Fprintln(s.out, line)
			}
		}
	})
}

func (s *batchScreen) stop() {
	close(s.done)
	s.wg.Wait()
}

// line is the progress at an instant.
func (s *batchScreen) line(snap batch.Snapshot) string {
	parts := []string{report.Whole(int64(snap.Done()))}
	if total := total(snap); total > 0 {
		part := float64(snap.Done()) / total
		parts[0] += fmt.Sprintf("/%s %3.0f %%", approx(snap, total), 100*part)
		if s.terminal.is {
			parts[0] = report.Bar(part, 16) + " " + parts[0]
		}
	}
	if s.pace.requests > 0 {
		parts = append(parts, report.Short(s.pace.requests*60)+" requests/min", report.Short(s.pace.tokens*60)+" tokens/min")
		if left := total(snap) - float64(snap.Done()); left > 0 {
			parts = append(parts, "ETA "+report.Span(time.Duration(left/s.pace.requests*float64(time.Second))))
		}
	}
	parts = append(parts, fmt.Sprintf("%d in flight", snap.InFlight))
	switch {
	case snap.Binding != "":
		parts = append(parts, "bound by "+snap.Binding+"/"+report.Per(snap.Per))
	case snap.Waiting > 0:
		parts = append(parts, "paused by the provider")
	case snap.InFlight > 0:
		parts = append(parts, "bound by the answers' time")
	}
	if n := snap.Failed + snap.Rejected; n > 0 {
		parts = append(parts, report.Whole(int64(n))+" failed")
	}
	if snap.Rejected429 > 0 {
		parts = append(parts, report.Whole(int64(snap.Rejected429))+" × 429")
	}
	if snap.Trouble != "" {
		parts = append(parts, "trying again: "+printableLine(snap.Trouble))
	}
	return strings.Join(parts, " · ")
}

// printableLine is what a provider said, on one line and without control characters.
func printableLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, s)
	return cut(s, 120)
}

// total is how many lines the input has, from how long those read are; 0 if its size isn't known.
func total(s batch.Snapshot) float64 {
	if s.Size == 0 || s.Bytes == 0 || s.Lines == 0 {
		return 0
	}
	return max(float64(s.Lines)*float64(s.Size)/float64(s.Bytes), float64(s.Done()))
}

func approx(s batch.Snapshot, total float64) string {
	if s.Bytes >= s.Size {
		return report.Whole(int64(s.Lines))
	}
	return "~" + report.Short(total)
}

func cut(s string, columns int) string {
	r := []rune(s)
	if len(r) <= columns {
		return s
	}
	return string(r[:max(0, columns-1)]) + "…"
}

// pace is how fast a batch is, averaged over the last while.
type pace struct {
	requests, tokens float64 // a second
	last             batch.Snapshot
}

// paceOver is the time over which a pace is averaged: short against a batch, long against its bursts.
const paceOver = 20 * time.Second

func (p *pace) add(s batch.Snapshot) {
	dt := (s.Elapsed - p.last.Elapsed).Seconds()
	if dt <= 0 {
		return
	}
	finished := float64(s.Succeeded + s.Failed - p.last.Succeeded - p.last.Failed)
	weight := min(1, dt/min(paceOver.Seconds(), s.Elapsed.Seconds()))
	p.requests += (finished/dt - p.requests) * weight
	p.tokens += (float64(s.TokensUsed-p.last.TokensUsed)/dt - p.tokens) * weight
	p.last = s
}
