package testservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
)

// ErrMissing is what [Command] returns, wrapped, where a service is not to be had on this machine.
var ErrMissing = errors.New("not tested")

// Command runs f, which may start services as a test does, for a program that isn't one. It returns what would have
// failed or skipped the test. What f's cleanups do is done when it returns.
func Command(f func(t testing.TB)) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &command{ctx: ctx}
	defer c.end()
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			ended, ours := p.(*ended)
			if !ours {
				panic(p)
			}
			err = ended.err
		}
	}()
	f(c)
	return nil
}

// command stands in for a test.
type command struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

// ended is what a test that can't go on panics with.
type ended struct{ err error }

func (c *command) end() {
	for len(c.cleanups) > 0 {
		last := len(c.cleanups) - 1
		f := c.cleanups[last]
		c.cleanups = c.cleanups[:last]
		f()
	}
}

func (c *command) Helper()                   {}
func (c *command) Name() string              { return "command" }
func (c *command) Context() context.Context  { return c.ctx }
func (c *command) Cleanup(f func())          { c.cleanups = append(c.cleanups, f) }
func (c *command) Log(args ...any)           { fmt.Fprintln(os.Stderr, args...) }
func (c *command) Logf(f string, a ...any)   { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (c *command) Error(args ...any)         { c.Fatal(args...) }
func (c *command) Errorf(f string, a ...any) { c.Fatalf(f, a...) }
func (c *command) Fatal(args ...any)         { panic(&ended{errors.New(fmt.Sprint(args...))}) }
func (c *command) Fatalf(f string, a ...any) { panic(&ended{fmt.Errorf(f, a...)}) }
func (c *command) Skip(args ...any) {
	panic(&ended{fmt.Errorf("%w: %s", ErrMissing, fmt.Sprint(args...))})
}
func (c *command) Skipf(f string, a ...any) { c.Skip(fmt.Sprintf(f, a...)) }
func (c *command) FailNow()                 { c.Fatal("failed") }
func (c *command) Failed() bool             { return false }

func (c *command) TempDir() string {
	dir, err := os.MkdirTemp("", "throttle-")
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
