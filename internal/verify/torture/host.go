package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// host stands in for a test, so that the command can start services as tests do.
type host struct {
	testing.TB
	ctx      context.Context
	cancel   context.CancelFunc
	cleanups []func()
}

// fatal is what a failed start of a service panics with.
type fatal struct{ error }

// missing is the error of a service that is not to be had on this machine.
type missing string

func (m missing) Error() string { return string(m) }

func newHost() *host {
	ctx, cancel := context.WithCancel(context.Background())
	return &host{ctx: ctx, cancel: cancel}
}

func (h *host) close() {
	h.cancel()
	for i := len(h.cleanups) - 1; i >= 0; i-- {
		h.cleanups[i]()
	}
	h.cleanups = nil
}

func (h *host) Helper()                   {}
func (h *host) Name() string              { return "torture" }
func (h *host) Context() context.Context  { return h.ctx }
func (h *host) Cleanup(f func())          { h.cleanups = append(h.cleanups, f) }
func (h *host) Log(args ...any)           { fmt.Fprintln(os.Stderr, args...) }
func (h *host) Logf(f string, a ...any)   { fmt.Fprintf(os.Stderr, f+"\n", a...) }
func (h *host) Error(args ...any)         { h.Fatal(args...) }
func (h *host) Errorf(f string, a ...any) { h.Fatalf(f, a...) }
func (h *host) Fatal(args ...any)         { panic(fatal{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(f string, a ...any) { panic(fatal{fmt.Errorf(f, a...)}) }
func (h *host) Skip(args ...any)          { panic(fatal{missing(fmt.Sprint(args...))}) }
func (h *host) Skipf(f string, a ...any)  { panic(fatal{missing(fmt.Sprintf(f, a...))}) }
func (h *host) FailNow()                  { runtime.Goexit() }
func (h *host) Failed() bool              { return false }

func (h *host) TempDir() string {
	dir, err := os.MkdirTemp("", "throttle-torture-")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
