package testservice

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// found is a server that a shared service was found at; stop ends it if it was started for the tests.
type found struct {
	url  string
	stop func()
}

// shared is a service that all tests of a process use.
type shared struct {
	name string
	// variable is the environment's, atDefault where the service is if it says nothing; program starts one, by start.
	variable, atDefault, program string
	ping                         func(url string) error
	start                        func() (*Server, error)
	image                        string // of a container, as [startContainer] takes it

	mu    sync.Mutex
	known bool
	at    found
	err   error
}

// kept says that Main runs the tests and stops shared services after the last.
var kept bool

var redisService = &shared{
	name: "Redis", variable: "THROTTLE_REDIS_URL", atDefault: "redis://127.0.0.1:6379", ping: pingRedis,
	program: "redis-server", start: func() (*Server, error) { return newRedis() }, image: "redis",
}

var postgresService = &shared{
	name: "Postgres", variable: "THROTTLE_POSTGRES_URL", atDefault: "postgres://postgres@127.0.0.1:5432/test?sslmode=disable",
	ping: pingPostgres, program: "postgres", start: func() (*Server, error) { return newPostgres() }, image: "postgres",
}

// Main runs a package's tests and then stops the servers that had to be started for them. Call it from TestMain.
func Main(m *testing.M) {
	kept = true
	code := m.Run()
	redisService.end()
	postgresService.end()
	os.Exit(code)
}

// use returns the service's URL, or ends the test.
func (s *shared) use(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		s.at, s.err = s.find()
		s.known = true
	}
	if s.err != nil {
		missing(t, s.name, s.err)
	}
	if !kept && s.at.stop != nil {
		t.Cleanup(s.end)
	}
	return s.at.url
}

// find looks where the environment says; else at the default, for a program to start, and for a container.
func (s *shared) find() (found, error) {
	if url := os.Getenv(s.variable); url != "" {
		if err := s.ping(url); err != nil {
			return found{}, fmt.Errorf("%s: %w: %w", s.variable, errSet, err)
		}
		return found{url: url}, nil
	}
	absent := s.ping(s.atDefault)
	if absent == nil {
		return found{url: s.atDefault}, nil
	}
	server, started := s.start()
	if started == nil {
		if started = server.start(); started == nil {
			return found{url: server.URL, stop: func() { server.Stop(); os.RemoveAll(server.dir) }}, nil
		}
		os.RemoveAll(server.dir)
	}
	url, stop, contained := startContainer(s.image, s.ping)
	if contained == nil {
		return found{url: url, stop: stop}, nil
	}
	return found{}, fmt.Errorf("\t%s is not set\n\t%s: %w\n\t%s: %w\n\tDocker: %w", s.variable, s.atDefault, absent, s.program, started, contained)
}

func (s *shared) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known && s.err == nil && s.at.stop != nil {
		s.at.stop()
		s.known = false
	}
}

// errSet marks a service that the environment names and that doesn't answer: never a reason to skip.
var errSet = errors.New("set in the environment")

// missing skips a test for want of a service, so that nobody overlooks it, or fails it where that would hide a gap.
func missing(t testing.TB, name string, err error) {
	t.Helper()
	switch {
	case errors.Is(err, errSet):
		t.Fatalf("%s: %v", name, err)
	case os.Getenv("CI") == "true":
		t.Fatalf("no %s, and with CI=true no test may be skipped: %v", name, err)
	}
	fmt.Fprintf(os.Stderr, "\n*** NOT TESTED: %s needs %s, and there is none:\n%v\n\n", t.Name(), name, err)
	t.Skipf("no %s", name)
}
