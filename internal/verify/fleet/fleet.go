package fleet

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
)

// jobVariable holds a process's Job, as JSON.
const jobVariable = "THROTTLE_FLEET_JOB"

// Main turns the program into a worker if it was started as one.
func Main() {
	text := os.Getenv(jobVariable)
	if text == "" {
		return
	}
	var job Job
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = Work(job)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, job.Name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is a worker that runs.
type Process struct {
	Job Job
	// Answered is how many calls the provider has answered, once Wait has returned.
	Answered int
	// Life is the process's, once Wait has returned. It holds the calls that were sent to the provider.
	Life   Life
	cmd    *exec.Cmd
	stdin  *os.File
	lines  *bufio.Scanner
	killed bool
	err    strings.Builder
}

// Start starts a worker, which then waits for Go.
func Start(job Job) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	p := &Process{Job: job, cmd: exec.Command(self, "-test.run=^$")}
	p.cmd.Env = append(os.Environ(), jobVariable+"="+string(text), "GOMAXPROCS=1")
	p.cmd.Stderr = &p.err
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdin, p.stdin = in, out
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(stdout)
	p.lines.Buffer(nil, 64<<20)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	in.Close()
	if !p.lines.Scan() || p.lines.Text() != "ready" {
		p.Kill()
		return nil, fmt.Errorf("%s did not start: %s", job.Name, p.err.String())
	}
	return p, nil
}

// Go lets the worker work.
func (p *Process) Go() {
	p.Life = Life{Name: p.Job.Name, From: time.Now()}
	fmt.Fprintln(p.stdin, "go")
}

// Kill ends the worker at once.
func (p *Process) Kill() {
	p.killed = true
	_ = p.cmd.Process.Kill()
}

// Wait returns what the worker reports; an empty report of one that was killed.
func (p *Process) Wait() (*Report, error) {
	defer p.stdin.Close()
	report := &Report{Name: p.Job.Name}
	for p.lines.Scan() {
		switch p.lines.Text() {
		case beginLine:
			p.Life.Granted = append(p.Life.Granted, time.Now())
			continue
		case endLine:
			p.Answered++
			continue
		}
		if err := json.Unmarshal(p.lines.Bytes(), report); err != nil {
			return nil, err
		}
	}
	p.Life.To = time.Now()
	if err := p.cmd.Wait(); err != nil && !p.killed {
		return nil, fmt.Errorf("%s: %w: %s", p.Job.Name, err, p.err.String())
	}
	return report, nil
}

// Run starts a worker for each job, lets them go together, and returns their reports.
func Run(jobs []Job) ([]*Report, error) {
	processes := make([]*Process, len(jobs))
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for i, job := range jobs {
		wg.Go(func() { processes[i], errs[i] = Start(job) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			for _, p := range processes {
				if p != nil {
					p.Kill()
				}
			}
			return nil, err
		}
	}
	for _, p := range processes {
		p.Go()
	}
	reports := make([]*Report, len(jobs))
	for i, p := range processes {
		wg.Go(func() { reports[i], errs[i] = p.Wait() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return reports, nil
}

// Overdraft replays all debits and credits, in the order of the store's time, through a bucket of its own, and returns
// the most that was ever taken beyond what it held; 0 if the quota was kept.
func Overdraft(q throttle.Quota, reports []*Report) float64 {
	var events []Event
	for _, r := range reports {
		events = append(events, r.Events...)
	}
	// Credits first where the times are equal: the order within a microsecond can't be seen from outside.
	slices.SortStableFunc(events, func(a, b Event) int {
		switch {
		case a.At != b.At:
			return int(a.At - b.At)
		case a.Debit < b.Debit:
			return -1
		case a.Debit > b.Debit:
			return 1
		}
		return 0
	})
	burst := q.Burst
	if burst == 0 {
		burst = q.Limit
	}
	level, worst := burst, 0.0
	for i, e := range events {
		if i > 0 {
			level = min(burst, level+q.Limit*float64(e.At-events[i-1].At)/float64(bucket.MicrosOf(q.Per)))
		}
		level = min(burst, level-e.Debit)
		if e.Debit > 0 {
			worst = max(worst, -level)
		}
	}
	return worst
}

// Quantile returns the q-quantile of the waits of some reports.
func Quantile(q float64, reports ...*Report) time.Duration {
	var all []time.Duration
	for _, r := range reports {
		all = append(all, r.Waits...)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
