package main

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/demo"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	"github.com/tokenthrottle/throttle/internal/report"
)

// demoScreen shows a demonstration on standard error while it runs: bars on a terminal, lines elsewhere.
type demoScreen struct {
	out      io.Writer
	terminal terminal
	bars     *mpb.Progress // nil unless on a terminal
	bar      *mpb.Bar

	loading  bool
	title    string
	total    int
	begun    time.Time
	answers  int
	refusals atomic.Int64 // the bars read it while they draw
}

func newDemoScreen(p *program) *demoScreen {
	return &demoScreen{out: p.stderr, terminal: p.look(p.stderr)}
}

// Loading implements [demo.Watcher].
func (s *demoScreen) Loading() {
	s.loading = true
	fmt.Fprintln(s.out, "Reading the documentation of Go's standard library …")
}

// Loaded implements [demo.Watcher].
func (s *demoScreen) Loaded(w *workload.Workload, set demo.Setting) {
	t := w.Totals()
	from := "from " + w.Source
	if w.Source == "" {
		from = "Go's sources were not found: filler text of the same lengths"
	}
	fmt.Fprintf(s.out, "%s packages, %s prompt tokens (%s); each may answer with up to %s.\n",
		report.Whole(int64(t.Requests)), report.Whole(int64(t.Input)), from, report.Whole(int64(w.MaxTokens)))
	fmt.Fprintf(s.out, "The provider allows %s tokens and %s requests a minute. Its minute lasts %s here, and it answers as much sooner.\n\n",
		report.Whole(set.Limits.TokensPerMinute), report.Whole(set.Limits.RequestsPerMinute), report.Span(set.Minute))
	if s.terminal.is {
		s.bars = mpb.New(mpb.WithOutput(s.out), mpb.WithWidth(min(s.terminal.columns, 110)), mpb.WithRefreshRate(80*time.Millisecond))
	}
}

// Begin implements [demo.Watcher].
func (s *demoScreen) Begin(title string, requests int) {
	s.title, s.total, s.begun, s.answers = title, requests, time.Now(), 0
	s.refusals.Store(0)
	if s.bars == nil {
		fmt.Fprintf(s.out, "%s: %d requests …\n", title, requests)
		return
	}
	begun := s.begun
	var took time.Duration
	var refusals int64
	elapsed := func(st decor.Statistics) string {
		if !st.Completed && !st.Aborted {
			took, refusals = time.Since(begun), s.refusals.Load()
		}
		return fmt.Sprintf("%8s", report.Span(took))
	}
	refused := func(decor.Statistics) string {
		return s.terminal.style.Paint(refusalColour(refusals), fmt.Sprintf("%6d × 429", refusals))
	}
	s.bar = s.bars.New(int64(requests), mpb.BarStyle().Lbound(" ").Filler("█").Tip("▌").Padding("░").Rbound(" "),
		mpb.PrependDecorators(decor.Name("  "+title, decor.WC{W: 24, C: decor.DindentRight}), decor.CountersNoUnit("%3d/%d")),
		mpb.AppendDecorators(decor.Any(elapsed), decor.Any(refused)),
	)
}

func refusalColour(n int64) report.Colour {
	if n > 0 {
		return report.Bad
	}
	return report.Good
}

// Answer implements [demo.Watcher].
func (s *demoScreen) Answer(int) {
	s.answers++
	if s.bar != nil {
		s.bar.Increment()
	}
}

// Refusal implements [demo.Watcher].
func (s *demoScreen) Refusal() { s.refusals.Add(1) }

// End implements [demo.Watcher].
func (s *demoScreen) End() {
	if s.bar != nil {
		if s.answers < s.total {
			s.bar.Abort(false)
		}
		s.bar = nil
		return
	}
	fmt.Fprintf(s.out, "%s: %d answers in %s, %d × 429\n", s.title, s.answers, report.Span(time.Since(s.begun)), s.refusals.Load())
}

func (s *demoScreen) close() {
	if s.bars != nil {
		s.bars.Wait()
	}
	if s.loading {
		fmt.Fprintln(s.out)
	}
}
