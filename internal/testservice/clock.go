package testservice

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

//go:embed preload/clock.c
var clockSource []byte

// Clock is a server's wall clock, which can be set while the server runs.
type Clock struct {
	file   string
	offset time.Duration
}

// StartRedisWithClock is StartRedis with a clock that can be set. It needs Linux and a C compiler, and returns an error
// without.
func StartRedisWithClock(t testing.TB, args ...string) (*Server, *Clock, error) {
	t.Helper()
	s, err := newRedis(args...)
	if err != nil {
		missing(t, "redis-server", err)
	}
	return s.runWithClock(t)
}

// StartPostgresWithClock is StartPostgres with a clock that can be set, as [StartRedisWithClock] does it.
func StartPostgresWithClock(t testing.TB, args ...string) (*Server, *Clock, error) {
	t.Helper()
	s, err := newPostgres(args...)
	if err != nil {
		missing(t, "postgres", err)
	}
	return s.runWithClock(t)
}

func (s *Server) runWithClock(t testing.TB) (*Server, *Clock, error) {
	t.Helper()
	c := &Clock{file: filepath.Join(s.dir, "clock")}
	library := filepath.Join(s.dir, "clock.so")
	if err := errors.Join(buildClock(library), c.Step(0)); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	s.env = []string{"LD_PRELOAD=" + library, "THROTTLE_TEST_CLOCK=" + c.file}
	s.run(t)
	return s, c, nil
}

// buildClock compiles what is loaded into a server before its own libraries.
func buildClock(library string) error {
	if runtime.GOOS != "linux" {
		return errors.New("a server's clock can only be set on Linux")
	}
	source := library + ".c"
	if err := os.WriteFile(source, clockSource, 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		return fmt.Errorf("a server's clock can only be set with a C compiler: %w\n%s", err, out)
	}
	return os.Chmod(library, 0o755)
}

// Step sets the clock forward, or back.
func (c *Clock) Step(by time.Duration) error {
	c.offset += by
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(binary.NativeEndian.AppendUint64(nil, uint64(c.offset.Microseconds())))
	return errors.Join(err, f.Close(), os.Chmod(c.file, 0o644))
}
