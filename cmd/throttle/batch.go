package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batch"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
	"github.com/tokenthrottle/throttle/openai"
)

type batchCommand struct {
	In  string `arg:"" name:"in" help:"Requests, one JSON object a line; - for standard input."`
	Out string `arg:"" name:"out" help:"Results, one JSON object a line. What is there already is not run again."`

	BaseURL string `name:"base-url" default:"https://api.openai.com/v1" placeholder:"URL" help:"Where the API is. Default: ${default}."`
	RPM     int    `name:"rpm" placeholder:"N" help:"Requests a minute. 0, the default: as the provider's headers say; -1: no limit."`
	TPM     int    `name:"tpm" placeholder:"N" help:"Tokens a minute, likewise."`
	RPD     int    `name:"rpd" placeholder:"N" help:"Requests a day. Default: no limit."`
	TPD     int    `name:"tpd" placeholder:"N" help:"Tokens a day. Default: no limit."`

	Store  string  `default:"memory://" placeholder:"URL" help:"Where the limiter keeps its state, to share the limits with other programs or keep them across runs: ${stores}. Default: ${default}."`
	Family string  `placeholder:"NAME" help:"Count all models as one family of this name. Default: each model's own."`
	Burst  float64 `default:"${burst}" placeholder:"PART" help:"Part of a limit that may be used at once. Default: ${default}."`

	Errors      string        `placeholder:"FILE" help:"Lines that can't be run. Default: OUT.errors.jsonl, without OUT's own .jsonl."`
	RetryFailed bool          `help:"Run requests again that failed in an earlier run."`
	MaxAttempts int           `default:"10" placeholder:"N" help:"Tries of a request that fails where others succeed. Default: ${default}."`
	GiveUp      time.Duration `default:"5m" placeholder:"D" help:"Stop when the provider has given no useful answer for this long. Default: ${default}."`
	Timeout     time.Duration `default:"10m" placeholder:"D" help:"Longest time for one try. Default: ${default}."`
	MaxInFlight int           `placeholder:"N" help:"Most requests at once. Default: as many as open files allow, at most ${inflight}; the limits decide below that."`
	Sync        time.Duration `default:"1s" placeholder:"D" help:"Longest time until a result is synced to disk; 0: each at once. Default: ${default}."`

	JSON  bool `name:"json" help:"Print a summary as one JSON object to standard output at the end."`
	Quiet bool `short:"q" help:"No progress on standard error."`
}

// Help is shown by --help.
func (batchCommand) Help() string {
	return `Each line of IN is a request in the format of OpenAI's Batch API:

  {"custom_id": "a1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4.1-mini", …}}

and gets one line in OUT, in the same API's format, in the order in which they are answered. The API key is taken from
OPENAI_API_KEY and sent to the base URL's host only. As many requests are under way as the limits allow. What is refused
for its rate or fails on the server's side is tried again; what can't succeed is written to OUT as a failure.

Interrupted, it lets requests in flight finish; interrupted again, it cuts them off. Started again with the same files, it
goes on where it was, also after it was killed.

Exit codes: 0 every request has succeeded; 1 done, but some requests failed or some lines can't be run; 2 wrong usage;
3 the provider accepts nothing more (a wrong key, a quota used up); 4 stopped by a failure, run it again; 130 interrupted.`
}

func (c *batchCommand) options(p *program) (batch.Options, error) {
	o := batch.Options{
		In: c.In, Out: c.Out, Rejects: c.Errors, Key: strings.TrimSpace(p.getenv("OPENAI_API_KEY")),
		Limits: openai.Limits{RPM: c.RPM, TPM: c.TPM, RPD: c.RPD, TPD: c.TPD, Burst: c.Burst}, Family: c.Family,
		MaxInFlight: c.MaxInFlight, MaxAttempts: c.MaxAttempts, Backoff: time.Second / 2, GiveUp: c.GiveUp, Timeout: c.Timeout, Sync: c.Sync,
		RetryFailed: c.RetryFailed,
	}
	var err error
	o.BaseURL, err = url.Parse(c.BaseURL)
	if err != nil { // it may hold a password, which the error would repeat
		return o, usageError("--base-url is not a URL: want http://… or https://…")
	}
	if (o.BaseURL.Scheme != "http" && o.BaseURL.Scheme != "https") || o.BaseURL.Host == "" {
		return o, usageError("--base-url %s: want http://… or https://…", o.BaseURL.Redacted())
	}
	if i := strings.IndexFunc(o.Key, unicode.IsControl); i >= 0 {
		return o, usageError("OPENAI_API_KEY has a control character at position %d: set it to the key alone", i+1)
	}
	for _, n := range []struct {
		flag         string
		value, least int
	}{{"rpm", c.RPM, -1}, {"tpm", c.TPM, -1}, {"rpd", c.RPD, 0}, {"tpd", c.TPD, 0}, {"max-in-flight", c.MaxInFlight, 0}, {"max-attempts", c.MaxAttempts, 1}} {
		if n.value < n.least {
			return o, usageError("--%s is %d: want %d or more", n.flag, n.value, n.least)
		}
	}
	switch {
	case !(c.Burst > 0 && c.Burst <= 1):
		return o, usageError("--burst is %v: want more than 0 and at most 1", c.Burst)
	case c.Timeout <= 0 || c.GiveUp <= 0 || c.Sync < 0:
		return o, usageError("--timeout and --give-up must be more than 0, and --sync at least that")
	case c.Out == "-":
		return o, usageError("OUT must be a file: what is in it is what needn't be run again")
	}
	if o.Rejects == "" {
		o.Rejects = strings.TrimSuffix(c.Out, ".jsonl") + ".errors.jsonl"
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = filesAllow()
	}
	return o, distinct(c.In, c.Out, o.Rejects)
}

// distinct refuses files that would overwrite each other.
func distinct(in, out, rejects string) error {
	same := func(a, b string) bool {
		if filepath.Clean(a) == filepath.Clean(b) {
			return true
		}
		infoA, errA := os.Stat(a)
		infoB, errB := os.Stat(b)
		return errA == nil && errB == nil && os.SameFile(infoA, infoB)
	}
	if same(in, out) || same(in, rejects) || same(out, rejects) {
		return usageError("IN, OUT and --errors must be three files")
	}
	return nil
}

// Run runs the command.
func (c *batchCommand) Run(p *program) error {
	o, err := c.options(p)
	if err != nil {
		return err
	}
	if o.Driver, err = openStore(p.ctx, c.Store); err != nil {
		return err
	}
	defer o.Driver.Close()
	ctx, drain, stop := p.interrupts("finishing the requests in flight; interrupt again to cut them off")
	defer stop()
	o.Drain = drain
	screen := newBatchScreen(p, c.Quiet)
	o.Started = screen.start
	begun := time.Now()
	summary, err := batch.Run(ctx, o)
	screen.stop()
	if err := c.report(p, o, summary, err, time.Since(begun)); err != nil {
		return err
	}
	return batchExit(summary, err, o.Key != "")
}

// batchExit is how the process ends.
func batchExit(s batch.Summary, err error, keyed bool) error {
	var stopped *batch.StoppedError
	var foreign *batchfile.ForeignError
	var path *os.PathError
	switch {
	case errors.As(err, &stopped) && stopped.Reason == batch.Interrupted:
		return &exit{exitInterrupted, nil}
	case errors.As(err, &stopped) && stopped.Reason == batch.Refused:
		if !keyed {
			return &exit{exitRefused, fmt.Errorf("%w; OPENAI_API_KEY is not set: set it, and run the same command again", err)}
		}
		return &exit{exitRefused, fmt.Errorf("%w; check OPENAI_API_KEY and what the account may use, and run the same command again", err)}
	case errors.As(err, &stopped):
		return &exit{exitFailed, fmt.Errorf("%w; run the same command again to go on", err)}
	case errors.As(err, &foreign), errors.Is(err, batchfile.ErrInUse), errors.Is(err, batchfile.ErrNotRegular),
		errors.As(err, &path) && (path.Op == "open" || path.Op == "stat" || path.Op == "remove"):
		return &exit{exitUsage, err}
	case err != nil:
		return &exit{exitFailed, err}
	case s.Failed+s.BeforeFailed+s.Rejected > 0:
		return &exit{exitIncomplete, nil}
	}
	return nil
}

// interrupts closes drain at the first interrupt and ends ctx at the second.
func (p *program) interrupts(notice string) (ctx context.Context, drain <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(p.ctx)
	first := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case <-signals:
			}
			if n == 0 {
				fmt.Fprintln(p.stderr, "\nthrottle: "+notice)
				close(first)
			} else {
				cancel()
				signal.Stop(signals) // a third one kills
			}
		}
	}()
	return ctx, first, func() {
		signal.Stop(signals)
		close(ended)
		cancel()
	}
}
