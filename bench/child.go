package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// A row with two processes runs this program twice more. Each child opens its side, says "ready", and then for each line
// with a number does so many operations on each of its goroutines and answers with how long that took.

// childEnv holds a child's task; a process that has it is a child.
const childEnv = "THROTTLE_BENCH_CHILD"

// The sides that a child can be.
const (
	childOurs  = "ours"
	childNaive = "naive"
)

// task is what a child is to do.
type task struct {
	Kind       string
	Place      place
	Goroutines int
}

// child runs the task and returns when its standard input ends.
func child(text string, in io.Reader, out io.Writer) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	var s side
	var err error
	switch t.Kind {
	case childOurs:
		s, _, err = t.Place.ours(1)
	case childNaive:
		s, _, err = t.Place.naive(1, t.Goroutines, "")
	default:
		err = fmt.Errorf("no such child: %q", t.Kind)
	}
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Fprintln(out, "ready")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var n int
		if _, err := fmt.Sscan(lines.Text(), &n); err != nil {
			return err
		}
		took, err := timed(s, t.Goroutines, n)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, took.Nanoseconds())
	}
	return lines.Err()
}

// process is a child as its parent sees it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t task) (*process, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, in, bufio.NewScanner(out)}
	_, err = p.read()
	return p, err
}

var errChild = errors.New("a child process ended")

func (p *process) read() (string, error) {
	if !p.out.Scan() {
		return "", errors.Join(errChild, p.out.Err())
	}
	return p.out.Text(), nil
}

// twoProcesses is a side whose goroutines are divided over two processes.
func twoProcesses(kind string, at place, goroutines int) (side, error) {
	var children []*process
	end := func() {
		for _, p := range children {
			p.in.Close()
			warn(p.cmd.Wait())
		}
	}
	for range 2 {
		p, err := startChild(task{kind, at, goroutines / 2})
		if p != nil {
			children = append(children, p)
		}
		if err != nil {
			end()
			return side{}, err
		}
	}
	name := "SERIALIZABLE by hand, a connection each, two processes"
	if kind == childOurs {
		name = "throttle, two processes"
	}
	return side{
		name: name,
		turn: func(n int) (time.Duration, error) {
			start := time.Now()
			for _, p := range children {
				if _, err := fmt.Fprintln(p.in, n); err != nil {
					return 0, err
				}
			}
			for _, p := range children {
				if _, err := p.read(); err != nil {
					return 0, err
				}
			}
			return time.Since(start), nil
		},
		close: end,
	}, nil
}
