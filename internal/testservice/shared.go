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
	name   string
	finder func() (found, error)

	mu    sync.Mutex
	known bool
	at    found
	err   error
}

// kept says that Main runs the tests and stops shared services after the last.
var kept bool

var redisService = &shared{name: "Redis", finder: findRedis}
var postgresService = &shared{name: "Postgres", finder: findPostgres}

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
		s.at, s.err = s.finder()
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
