package testservice

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// startTimeout is how long a server may take until it answers, and stopTimeout until it has ended.
const (
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
	pollEvery    = 5 * time.Millisecond
)

// Server is a server of the test's own. Its methods fail the test on error; they are not safe for concurrent use.
type Server struct {
	// Addr is host:port, and URL what a driver opens.
	Addr, URL string

	t     testing.TB
	dir   string
	argv  []string
	env   []string // beside the tests' own
	user  *account // whom it runs as; nil for the tests' own user
	stop  signal   // how an operator ends it
	ready func() error

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended

	paused []int // processes; under mu
}

// start starts the process and waits until it answers.
func (s *Server) start() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	if s.env != nil {
		cmd.Env = append(os.Environ(), s.env...)
	}
	setAttributes(cmd, s.user)
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel ends the server with the thread that started it, so this thread must last as long as the server.
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // how it ended is of no interest: tests kill it
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd, s.done = cmd, done
	s.mu.Unlock()
	deadline := time.After(startTimeout)
	for {
		err := s.ready()
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("%s ended before it answered: %w\n%s", filepath.Base(s.argv[0]), err, s.log())
		case <-deadline:
			s.end(killSignal)
			return fmt.Errorf("%s doesn't answer after %v: %w\n%s", filepath.Base(s.argv[0]), startTimeout, err, s.log())
		case <-time.After(pollEvery):
		}
	}
}

// log returns the end of what the server wrote.
func (s *Server) log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// end sends a signal and waits until the process is gone, with force if it takes too long.
func (s *Server) end(sig signal) {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	send(cmd, sig)
	s.goOn() // a paused process can't end
	select {
	case <-done:
	case <-time.After(stopTimeout):
		send(cmd, killSignal)
		<-done
	}
}

// Stop ends the server as an operator would.
func (s *Server) Stop() { s.end(s.stop) }

// Kill ends the server as a power cut would.
func (s *Server) Kill() { s.end(killSignal) }

// Pause makes the server hang, with all processes that belong to it: its connections stay open and nothing answers.
func (s *Server) Pause() {
	s.t.Helper()
	stopped, err := pause(s.Pid())
	s.mu.Lock()
	s.paused = stopped
	s.mu.Unlock()
	if err != nil {
		s.goOn()
		s.t.Fatalf("pause %s: %v", s.Addr, err)
	}
}

// Resume ends Pause.
func (s *Server) Resume() { s.goOn() }

func (s *Server) goOn() {
	s.mu.Lock()
	stopped := s.paused
	s.paused = nil
	s.mu.Unlock()
	resume(stopped)
}

// Restart starts a server that was stopped or killed (and stops it first, if it wasn't), at the same address, with what
// it has kept on disk.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	// Where the server was killed, its children may need a moment to notice, and hold what the new one needs.
	if err := eventually("restart", s.start); err != nil {
		s.t.Fatal(err)
	}
}

// RestartWith is Restart with further arguments, and doesn't wait until the server answers.
func (s *Server) RestartWith(args ...string) {
	s.t.Helper()
	s.Stop()
	s.argv = append(s.argv, args...)
	ready := s.ready
	s.ready = func() error { return nil }
	defer func() { s.ready = ready }()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// Logged says whether the server's log holds a text.
func (s *Server) Logged(text string) bool {
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	return err == nil && bytes.Contains(log, []byte(text))
}

// Ended says whether the process has ended, by itself or not.
func (s *Server) Ended() bool {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Pid is the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// freePort returns a port on which nobody listens, nor on those at the given distances from it.
func freePort(also ...int) (int, error) {
	for range 200 {
		port, err := listenable(0)
		if err != nil {
			return 0, err
		}
		ok := true
		for _, distance := range also {
			if port+distance > 65535 {
				ok = false
				break
			}
			if _, err := listenable(port + distance); err != nil {
				ok = false
			}
		}
		if ok {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port")
}

func listenable(port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// eventually tries until it gets no error, or fails.
func eventually(what string, try func() error) error {
	deadline := time.After(startTimeout)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("%s: not within %v: %w", what, startTimeout, err)
		case <-time.After(pollEvery):
		}
	}
}
