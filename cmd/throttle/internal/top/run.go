// Package top shows in a terminal, live, what a store holds.
package top

import (
	"context"
	"io"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/watch"
)

// Options are where and how to show it.
type Options struct {
	Title  string
	Style  report.Style
	Input  io.Reader
	Output io.Writer
}

// Run shows what w sees until the user quits or ctx ends.
func Run(ctx context.Context, w *watch.Watcher, o Options) error {
	view := w.View()
	if view == nil {
		return nil
	}
	defer view.Close()
	program := tea.NewProgram(newModel(w, o), tea.WithInput(o.Input), tea.WithOutput(o.Output), tea.WithAltScreen(), tea.WithContext(ctx))
	looking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			update, ok := view.Next(looking)
			if !ok {
				return
			}
			program.Send(update)
		}
	}()
	_, err := program.Run()
	stop()
	<-done
	return err
}
