package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/demo"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/report"
)

type demoCommand struct {
	Store   string `placeholder:"URL" help:"Where the limiters keep their state, such as memory:// or bolt:///tmp/limits.db. Default: a bolt file in a temporary directory."`
	Workers int    `placeholder:"N" help:"Send from N processes that share one key. Needs a store that processes can share."`
	Flows   bool   `help:"Show production beside a batch of ${batch} limiters on one key, without and with flows, instead."`
	SVG     string `name:"svg" placeholder:"FILE" help:"Write the table and the plot as an image, too."`
	JSON    bool   `name:"json" help:"Print one JSON object to standard output, and nothing else there."`
}

// Help is shown by --help.
func (demoCommand) Help() string {
	return `One request for each package of Go's standard library, its documentation the prompt, counted in real tokens, is sent to
a simulated provider on the loopback interface. The provider's minute is shorter than a real one, so that all of it takes
less than a minute. First without a limiter, then under one that never refunds, then under throttle.

Exit codes: 0 done, 2 wrong usage, 4 failed, 130 interrupted.`
}

// Run runs the command.
func (c *demoCommand) Run(p *program) error {
	if err := c.check(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt)
	defer stop()
	screen := newDemoScreen(p)
	out, err := c.show(ctx, demo.Options{Store: storeURL(c.Store), Workers: c.Workers, Watch: screen})
	screen.close()
	if err != nil {
		return demoError(ctx, err)
	}
	if c.SVG != "" {
		if err := os.WriteFile(c.SVG, []byte(out.SVG()), 0o666); err != nil {
			return err
		}
	}
	if c.JSON {
		return writeJSON(p.stdout, out)
	}
	t := p.look(p.stdout)
	_, err = io.WriteString(p.stdout, out.Picture(t.style, t.columns))
	return err
}

// picture is what a demonstration ends with; it is its JSON, too.
type picture interface {
	Picture(st report.Style, columns int) string
	SVG() string
}

func (c *demoCommand) show(ctx context.Context, o demo.Options) (picture, error) {
	if c.Flows {
		return demo.RunFlows(ctx, o)
	}
	return demo.Run(ctx, o)
}

func (c *demoCommand) check() error {
	if c.Workers < 0 {
		return usageError("--workers is %d: want 1 or more", c.Workers)
	}
	if c.Workers == 0 {
		return nil
	}
	if c.Flows {
		return usageError("--flows and --workers are two demonstrations: give one of them")
	}
	u, err := url.Parse(storeURL(c.Store))
	if err != nil {
		return usageError("--store is not a URL")
	}
	if u.Scheme == "" || u.Scheme == "memory" || u.Scheme == "bolt" {
		return usageError("--workers needs a store that processes can share: --store redis://… or postgres://…; memory is a " +
			"process's own, and a bolt file is open in one process at a time")
	}
	return nil
}

func demoError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exit{exitInterrupted, errors.New("interrupted")}
	}
	var store *driver.OpenError
	if errors.As(err, &store) {
		return &exit{exitUsage, err}
	}
	return &exit{exitFailed, fmt.Errorf("demo: %w", err)}
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// workerCommand is what demo --workers runs.
type workerCommand struct{}

// Run runs the command.
func (workerCommand) Run(p *program) error { return demo.Worker(p.ctx, p.stdin, p.stdout) }
