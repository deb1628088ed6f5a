package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	"github.com/tokenthrottle/throttle/driver"
)

// Job is one process's part of a way. It is sent to worker processes as JSON.
type Job struct {
	Way Way `json:"way"`
	// URL is the provider's.
	URL string `json:"url"`
	// Store and Family are where the limiter keeps its state, and Quotas what it keeps to.
	Store  string           `json:"store"`
	Family string           `json:"family"`
	Quotas []throttle.Quota `json:"quotas"`
	// Minute is how long the provider's is.
	Minute   time.Duration      `json:"minute"`
	Requests []workload.Request `json:"requests"`
}

// Event is what a process reports.
type Event struct {
	Kind Kind `json:"kind"`
	// Tokens were used: Answered.
	Tokens int `json:"tokens,omitempty"`
	// Error is what went wrong: Failed.
	Error string `json:"error,omitempty"`
}

// Kind is a kind of event.
type Kind string

// The events of a process: Ready comes first, Done or Failed last.
const (
	Ready    Kind = "ready"
	Answered Kind = "answered"
	Refused  Kind = "refused"
	Done     Kind = "done"
	Failed   Kind = "failed"
)

// connections are opened before the clock starts.
const connections = 48

// work does a job: it gets ready, says so, waits for the start and sends. emit may be called from several goroutines at
// once. The error has been emitted.
func work(ctx context.Context, job *Job, start <-chan struct{}, emit func(Event)) {
	if err := doWork(ctx, job, start, emit); err != nil {
		emit(Event{Kind: Failed, Error: err.Error()})
		return
	}
	emit(Event{Kind: Done})
}

func doWork(ctx context.Context, job *Job, start <-chan struct{}, emit func(Event)) (err error) {
	s := &sender{client: newClient(job.URL), job: job, emit: emit}
	defer s.client.http.CloseIdleConnections()
	if job.Way != NoLimiter {
		d, err := driver.Open(ctx, job.Store)
		if err != nil {
			return err
		}
		defer d.Close()
		s.lim = throttle.New(d, throttle.Shared(job.Family, job.Quotas...))
		defer s.lim.Close()
		if _, err := s.lim.Status(ctx, workload.Model); err != nil {
			return err
		}
	}
	if err := s.client.warm(ctx, connections); err != nil {
		return fmt.Errorf("provider at %s: %w", job.URL, err)
	}
	emit(Event{Kind: Ready})
	select {
	case <-start:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.all(ctx)
}
