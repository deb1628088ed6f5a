package batch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// errTimeout ends a try that takes too long.
var errTimeout = errors.New("no complete answer in time")

// wire is the transport below the limiter's: what passes here is in flight.
type wire struct {
	base    http.RoundTripper
	timeout time.Duration
	tally   *tally
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	j := jobOf(r.Context())
	j.depart()
	ctx, cancel := context.WithTimeoutCause(r.Context(), w.timeout, errTimeout)
	w.tally.update(func(s *Snapshot) { s.Sent++; s.InFlight++ })
	land := sync.OnceFunc(func() {
		cancel()
		w.tally.update(func(s *Snapshot) { s.InFlight-- })
		j.arrive()
	})
	resp, err := w.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		land()
		return nil, err
	}
	w.tally.answered(resp.StatusCode)
	resp.Body = &landing{resp.Body, ctx, land}
	return resp, nil
}

// landing is a body whose end is the end of the flight.
type landing struct {
	io.ReadCloser
	ctx  context.Context
	land func()
}

func (l *landing) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (l *landing) Close() error {
	err := l.ReadCloser.Close()
	l.land()
	return err
}
