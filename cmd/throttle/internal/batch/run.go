package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
	"github.com/tokenthrottle/throttle/openai"
)

// Reason is why a run stopped early.
type Reason string

// The reasons.
const (
	// Interrupted: the user stopped it.
	Interrupted Reason = "interrupted"
	// Refused: the provider accepts nothing more from this key or account.
	Refused Reason = "refused"
	// Unreachable: the provider has given no useful answer for too long.
	Unreachable Reason = "unreachable"
	// StoreFailed: the limiter's store doesn't work.
	StoreFailed Reason = "store"
	// OutputFailed: results can't be written.
	OutputFailed Reason = "output"
	// InputFailed: the input can't be read to its end.
	InputFailed Reason = "input"
)

// StoppedError says why a run stopped early. What had no result then has none now, and is run by the next start.
type StoppedError struct {
	Reason Reason
	Detail string
}

func (e *StoppedError) Error() string {
	switch e.Reason {
	case Interrupted:
		return "interrupted"
	case Refused:
		return "the provider accepts nothing more from this account: " + e.Detail
	case Unreachable:
		return "the provider gives no useful answer: " + e.Detail
	case StoreFailed:
		return "the store doesn't work: " + e.Detail
	case OutputFailed:
		return "results can't be written: " + e.Detail
	default:
		return "the input can't be read: " + e.Detail
	}
}

// Summary is what a run did.
type Summary struct {
	Snapshot
	// Before counts the results that the output held at the start, Repaired the bytes removed from its end.
	BeforeSucceeded, BeforeFailed int
	Repaired                      int64
}

// run is a run under way.
type run struct {
	Options
	tally   tally
	out     *batchfile.Output
	rejects *batchfile.Rejects
	lim     *throttle.Limiter
	client  *http.Client

	ctx   context.Context
	slots chan struct{} // one for each job
	ahead chan struct{} // one for each job that was never sent: so many are read ahead
	jobs  sync.WaitGroup

	mu       sync.Mutex
	running  map[*job]struct{}
	draining chan struct{} // closed when the run is to end
	cause    error
}

// readAhead is how many requests wait for the limits at once: enough for a store to grant many in one round trip.
const readAhead = 64

// maxLine is the longest request, in bytes, that is read. OpenAI takes files of 200 MB.
const maxLine = 200 << 20

// Run runs the batch. A [*StoppedError] comes with the Summary of what was done until then. When ctx ends, requests in
// flight are cut off.
func Run(ctx context.Context, o Options) (Summary, error) {
	r := &run{
		Options: o, running: map[*job]struct{}{}, draining: make(chan struct{}),
		slots: make(chan struct{}, o.MaxInFlight), ahead: make(chan struct{}, min(readAhead, o.MaxInFlight)),
	}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	in, size, err := openInput(o.In)
	if err != nil {
		return Summary{}, err
	}
	defer in.Close()
	r.out, err = batchfile.OpenOutput(o.Out, batchfile.OutputOptions{Sync: o.Sync, RetryFailed: o.RetryFailed})
	if err != nil {
		return Summary{}, err
	}
	if r.rejects, err = batchfile.NewRejects(o.Rejects); err != nil {
		return Summary{}, errors.Join(err, r.out.Close())
	}
	r.tally.begun = time.Now()
	r.tally.alive = r.tally.begun
	r.tally.s.Size = size
	r.connect()
	if o.Started != nil {
		o.Started(r.tally.snapshot)
	}
	r.work(in)
	return r.close()
}

func openInput(path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &os.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if !info.Mode().IsRegular() {
		return f, 0, nil
	}
	return f, info.Size(), nil
}

// connect makes the limiter and the client above it.
func (r *run) connect() {
	r.lim = throttle.New(r.Driver, r.models(), throttle.WithHooks(r.tally.hooks()))
	r.client = &http.Client{
		Transport: &openai.Transport{
			Limiter: r.lim, Base: &wire{r.base(), r.Timeout, &r.tally}, Hosts: []string{r.BaseURL.Host},
			Counter: &openai.Counter{}, MaxRetries: -1, OnAnswer: r.tally.answer,
		},
		// The key is for the host that the user named, and a POST that is answered by another page is an error.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// work reads the input and runs it, and returns when no job runs any more.
func (r *run) work(in io.Reader) {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-r.Drain:
			r.stop(&StoppedError{Reason: Interrupted})
		case <-r.ctx.Done():
			r.stop(&StoppedError{Reason: Interrupted})
		case <-ended:
		}
	}()
	lines := make(chan lineRead)
	go r.read(in, lines)
	for {
		var next lineRead
		select {
		case next = <-lines:
		case <-r.draining:
		}
		if errors.Is(next.err, io.EOF) || r.stopped() {
			break
		}
		var long *batchfile.LongLineError
		switch {
		case errors.As(next.err, &long):
			r.reject(&batchfile.Reject{Code: batchfile.CodeTooLong, Message: long.Error(), Line: long.Number})
		case next.err != nil:
			r.stop(&StoppedError{Reason: InputFailed, Detail: next.err.Error()})
		default:
			r.take(next.line)
		}
	}
	r.jobs.Wait()
}

// lineRead is what reading a line gave.
type lineRead struct {
	line batchfile.Line
	err  error
}

// read reads the input, apart from the run: a read from a pipe or a terminal may never end, and the run must.
func (r *run) read(in io.Reader, into chan<- lineRead) {
	lines := batchfile.NewLines(in, maxLine)
	for {
		line, err := lines.Next()
		select {
		case into <- lineRead{line, err}:
		case <-r.draining:
			return
		}
		var long *batchfile.LongLineError
		if err != nil && !errors.As(err, &long) {
			return
		}
	}
}

// take starts the request on a line.
func (r *run) take(line batchfile.Line) {
	r.tally.update(func(s *Snapshot) { s.Lines++; s.Bytes = line.End })
	if len(bytes.TrimSpace(line.Text)) == 0 {
		r.tally.update(func(s *Snapshot) { s.Lines-- })
		return
	}
	request, err := batchfile.ParseRequest(line)
	var rj *batchfile.Reject
	if errors.As(err, &rj) {
		r.reject(rj)
		return
	}
	first, done := r.out.IDs.Read(request.CustomID)
	switch {
	case !first:
		r.reject(&batchfile.Reject{Code: batchfile.CodeDuplicate, Line: line.Number,
			Message: fmt.Sprintf("custom_id %.100q was on a line before: the first one counts", request.CustomID)})
		return
	case done:
		r.tally.update(func(s *Snapshot) { s.Skipped++ })
		return
	}
	for _, room := range []chan struct{}{r.slots, r.ahead} {
		select {
		case room <- struct{}{}:
		case <-r.draining:
			return
		}
	}
	r.start(request)
}

func (r *run) start(request batchfile.Request) {
	j := &job{run: r, request: request, ahead: true}
	ctx, cancel := context.WithCancel(r.ctx)
	j.ctx, j.cancel = context.WithValue(ctx, jobKey{}, j), cancel
	r.mu.Lock()
	r.running[j] = struct{}{}
	draining := r.cause != nil
	r.mu.Unlock()
	if draining {
		j.drain()
	}
	r.tally.update(func(s *Snapshot) { s.Pending++ })
	r.jobs.Go(func() {
		j.do()
		r.mu.Lock()
		delete(r.running, j)
		r.mu.Unlock()
		r.tally.update(func(s *Snapshot) { s.Pending-- })
		<-r.slots
	})
}

func (r *run) reject(rj *batchfile.Reject) {
	r.tally.update(func(s *Snapshot) { s.Rejected++ })
	if err := r.rejects.Write(rj); err != nil {
		r.stop(&StoppedError{Reason: OutputFailed, Detail: err.Error()})
	}
}

// finish writes a job's result. It counts as done when it is written.
func (r *run) finish(j *job, result batchfile.Result) {
	result.CustomID = j.request.CustomID
	if failed := result.Failed(); failed && result.Response != nil {
		result.Response.Body = []byte(r.redact(string(result.Response.Body)))
	} else if failed {
		result.Error.Message = r.redact(result.Error.Message)
	}
	if err := r.out.Write(&result); err != nil {
		r.stop(&StoppedError{Reason: OutputFailed, Detail: err.Error()})
		return
	}
	if result.Response != nil {
		r.tally.useful()
	}
	r.tally.update(func(s *Snapshot) {
		if result.Failed() {
			s.Failed++
		} else {
			s.Succeeded++
		}
	})
}

// stop ends the run: nothing more is started, who waits is sent home, and what is in flight finishes. The first cause
// counts.
func (r *run) stop(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != nil {
		return
	}
	r.cause = cause
	close(r.draining)
	for j := range r.running {
		j.drain()
	}
}

func (r *run) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause != nil
}

// redact takes the key out of what a provider says.
func (r *run) redact(text string) string {
	if len(r.Key) < 8 { // too short to be one, and part of many words
		return text
	}
	return strings.ReplaceAll(text, r.Key, "[key]")
}

func (r *run) close() (Summary, error) {
	r.client.CloseIdleConnections()
	errs := []error{r.lim.Close(), r.rejects.Close(), r.out.Close()}
	s := Summary{
		Snapshot: r.tally.snapshot(), BeforeSucceeded: r.out.Succeeded, BeforeFailed: r.out.Failed, Repaired: r.out.Repaired,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause != nil {
		return s, r.cause
	}
	if err := errors.Join(errs...); err != nil {
		return s, &StoppedError{Reason: OutputFailed, Detail: err.Error()}
	}
	return s, nil
}
