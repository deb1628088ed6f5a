package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

// host lets the servers that tests use run for a program: package testservice asks a testing.TB for nothing else.
type host struct {
	testing.TB // nil: whatever isn't below must not be called
	cleanups   []func()
}

// errService is what a server that doesn't start panics with, through the goroutine of start.
type errService struct{ error }

func (h *host) Helper()                           {}
func (h *host) Cleanup(f func())                  { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatal(args ...any)                 { panic(errService{errors.New(fmt.Sprint(args...))}) }
func (h *host) Fatalf(format string, args ...any) { panic(errService{fmt.Errorf(format, args...)}) }
func (h *host) Skipf(format string, args ...any)  { h.Fatalf(format, args...) }
func (h *host) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
func (h *host) Logf(string, ...any)               {}
func (h *host) Name() string                      { return "bench" }
func (h *host) Context() context.Context          { return context.Background() }
func (h *host) Failed() bool                      { return false }

// service is a server of our own, started when it is first needed.
type service struct {
	start func(testing.TB) *testservice.Server

	once   sync.Once
	host   host
	server *testservice.Server
	err    error
}

var (
	redisServer = &service{start: func(t testing.TB) *testservice.Server { return testservice.StartRedis(t) }}
	// As its makers deliver it, but for room for everybody's connections: what is committed is on the disk.
	postgresServer = &service{start: func(t testing.TB) *testservice.Server {
		return testservice.StartPostgres(t, "-c", "max_connections=300")
	}}
)

// url starts the server, if it isn't running, and returns where it is.
func (s *service) url() (string, error) {
	s.once.Do(func() {
		defer func() {
			switch p := recover().(type) {
			case nil:
			case errService:
				s.err = p.error
			case runtime.Error:
				panic(p)
			default:
				s.err = fmt.Errorf("%v", p)
			}
		}()
		s.server = s.start(&s.host)
	})
	if s.err != nil {
		return "", s.err
	}
	return s.server.URL, nil
}

// stopServices ends the servers that were started.
func stopServices() {
	for _, s := range []*service{redisServer, postgresServer} {
		for i := len(s.host.cleanups) - 1; i >= 0; i-- {
			s.host.cleanups[i]()
		}
		s.host.cleanups = nil
	}
}
