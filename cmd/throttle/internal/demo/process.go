package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// WorkerCommand is the hidden command under which the program runs itself as a worker.
const WorkerCommand = "demo-worker"

// spawn does a job in a process of its own, as work does in this one.
func spawn(ctx context.Context, program string, job *Job, start <-chan struct{}, emit func(Event)) {
	if err := runProcess(ctx, program, job, start, emit); err != nil {
		emit(Event{Kind: Failed, Error: "worker process: " + err.Error()})
		return
	}
	emit(Event{Kind: Done})
}

// runProcess passes on what the process reports, but for how it ended: that it returns.
func runProcess(ctx context.Context, program string, job *Job, start <-chan struct{}, emit func(Event)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, WorkerCommand)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// A worker that is gone shows in its output: there is nothing to be done about its input.
	_ = json.NewEncoder(in).Encode(job)
	go func() {
		select {
		case <-start:
			_, _ = io.WriteString(in, "start\n")
		case <-ctx.Done():
		}
		_ = in.Close()
	}()
	ended := errors.New("ended early")
	lines := json.NewDecoder(bufio.NewReader(out))
	for {
		var e Event
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			cancel()
			return errors.Join(fmt.Errorf("its report: %w", err), cmd.Wait())
		}
		switch e.Kind {
		case Done:
			ended = nil
		case Failed:
			ended = errors.New(e.Error)
		default:
			emit(e)
		}
	}
	if err := cmd.Wait(); err != nil && ended != nil {
		return fmt.Errorf("%w (%w)", ended, err)
	}
	return ended
}

// Worker is the worker process: it reads a job from in, reports events on out, and starts when in's next line comes.
func Worker(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader := bufio.NewReader(in)
	var job Job
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var mu sync.Mutex
	var failed error
	encoder := json.NewEncoder(out)
	emit := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == Failed {
			failed = errors.New(e.Error)
		}
		if err := encoder.Encode(e); err != nil {
			cancel() // nobody listens any more
		}
	}
	start := make(chan struct{})
	go func() {
		if _, err := reader.ReadString('\n'); err != nil {
			cancel() // the parent is gone
			return
		}
		close(start)
	}()
	work(ctx, &job, start, emit)
	mu.Lock()
	defer mu.Unlock()
	return failed
}
