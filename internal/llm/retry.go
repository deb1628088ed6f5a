package llm

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle"
)

const (
	maxErrorBody = 64 << 10        // bytes of an error's body that are read to judge it
	maxDrain     = 64 << 10        // bytes of what is left of it that are read so that the connection can be used again
	firstBackoff = time.Second / 2 // as in the official SDKs
	maxBackoff   = 8 * time.Second
)

// judge looks at an answer. A success is handed over; an error is settled and, where that makes sense, tried again.
func (x *exchange) judge(resp *http.Response) (again bool, err error) {
	if resp.StatusCode < 400 {
		x.handOver(resp)
		return false, nil
	}
	reading, rest := x.readError(resp)
	x.answer.Reading = reading
	verdict := x.t.dialect.Judge(resp.StatusCode, resp.Header, reading)
	x.settle(x.refused())
	wait, stated := RetryAfter(resp.Header, time.Now())
	switch verdict {
	case Limited:
		x.refusals++
		if !stated {
			wait = backoff(x.refusals)
		}
		x.hold(min(wait, x.t.config.MaxPause), resp.Header, x.t.dialect.Exhausted(reading))
		if x.refusals > maxRefusals || !x.body.rewinds() {
			verdict = Deliver
		}
	case Transient:
		x.faults++
		if !stated {
			wait = backoff(x.faults)
		}
		if x.faults > x.t.config.MaxRetries || !x.body.rewinds() || wait > x.t.config.MaxPause {
			verdict = Deliver
		}
	}
	if verdict == Deliver {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{rest, resp.Body}
		x.report()
		return false, nil
	}
	_, _ = io.CopyN(io.Discard, rest, maxDrain)
	_ = resp.Body.Close()
	if verdict == Transient {
		err = pause(x.request.Context(), wait)
	}
	return true, err
}

// hold makes everybody wait who uses the limit that refused. Where the headers don't say what remains, the refusal does:
// about nothing, so that those who wait don't all come at once when the pause ends.
func (x *exchange) hold(wait time.Duration, h http.Header, exhausted string) {
	ctx := context.WithoutCancel(x.request.Context())
	// What fails here is lost; the refusals of others bring it again.
	_ = x.t.config.Limiter.Pause(ctx, x.call.Model, wait)
	for _, s := range x.t.dialect.Limits(h, time.Now()) {
		if s.HasRemaining || exhausted != "" && exhausted != s.Resource {
			continue
		}
		if q, ok := quotaFor(x.model.Quotas, Stated{Resource: s.Resource}); ok {
			_ = x.t.config.Limiter.Observe(ctx, x.call.Model, throttle.Observation{Resource: q.Resource, Per: q.Per})
		}
	}
}

// readError reads the beginning of an error's body; the rest gives all of it again.
func (x *exchange) readError(resp *http.Response) (Reading, io.Reader) {
	var head bytes.Buffer
	_, err := io.Copy(&head, io.LimitReader(resp.Body, maxErrorBody))
	rest := io.Reader(&head)
	if err != nil {
		rest = io.MultiReader(&head, failingReader{err})
	} else if head.Len() == maxErrorBody {
		rest = io.MultiReader(&head, resp.Body)
	}
	m := x.newMeter(resp)
	if m == nil {
		return Reading{}, rest
	}
	_, _ = m.Write(head.Bytes())
	return m.close(true), rest
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// backoff is how long to wait before a further try, where the server doesn't say: twice as long each time, less up to a
// quarter at random, so that those who failed together don't come again together.
func backoff(failures int) time.Duration {
	d := min(firstBackoff<<min(failures-1, 10), maxBackoff)
	return d - time.Duration(rand.Float64()*float64(d)/4)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isStream reports whether a body is a stream of events.
func isStream(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/event-stream")
}
