package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/top"
	"github.com/tokenthrottle/throttle/internal/watch"
)

type topCommand struct {
	Families []string      `arg:"" optional:"" name:"family" help:"The families to show. Default: all that the store holds, up to --most."`
	Store    string        `required:"" placeholder:"URL" help:"The store: redis://host:6379/0, postgres://user@host/db, bolt:///path/limits.db."`
	Every    time.Duration `default:"1s" placeholder:"D" help:"How often to look. Default: ${default}."`
	Most     int           `default:"100" placeholder:"N" help:"How many families to show. Default: ${default}."`
}

// Help is shown by --help.
func (topCommand) Help() string {
	return `What a store holds, live, in the terminal: levels as bars, use against limits over the last minutes, who waits and for how
long. Nothing is changed by looking. A bolt file is open in one process at a time, and nobody else can open it while this
runs.

Keys: q quits; the arrows, PgUp, PgDn, Home and End scroll; / filters by name, Esc clears it; s orders by state; space holds
the picture.

Exit codes: 0 done, 2 wrong usage, no terminal or a store that can't be opened, 4 the terminal failed.`
}

// Run runs the command.
func (c *topCommand) Run(p *program) error {
	switch {
	case c.Most < 1:
		return usageError("--most is %d: want 1 or more", c.Most)
	case c.Every < 100*time.Millisecond || c.Every > time.Hour:
		return usageError("--every is %v: want 100ms to an hour", c.Every)
	}
	screen := p.look(p.stdout)
	if !screen.is {
		return usageError("top needs a terminal: use \"throttle status\" elsewhere")
	}
	ctx, stop := signal.NotifyContext(p.ctx, os.Interrupt)
	defer stop()
	d, err := openExistingStore(ctx, c.Store)
	if err != nil {
		return err
	}
	defer d.Close()
	source, err := watch.OfStore(d, c.Families, c.Most)
	if err != nil {
		return &exit{exitUsage, err}
	}
	watcher := watch.New(source, watch.Options{Every: c.Every})
	defer watcher.Close()
	err = top.Run(ctx, watcher, top.Options{Title: storeName(c.Store), Style: screen.style, Input: p.stdin, Output: p.stdout})
	if err != nil && !errors.Is(err, tea.ErrProgramKilled) {
		return &exit{exitFailed, fmt.Errorf("top: %w", err)}
	}
	return nil
}
