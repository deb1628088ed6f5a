package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

const (
	// conflictWait and brokenWait are the longest first waits before an attempt is repeated; each further one may be
	// twice as long, up to the most. The wait is random from 0 up, or those who conflicted would meet again.
	conflictWait, conflictWaitMost = time.Millisecond, 16 * time.Millisecond
	brokenWait, brokenWaitMost     = 4 * time.Millisecond, 256 * time.Millisecond

	// answerGrace is how long an Apply whose ctx has ended still waits for the answer to its COMMIT: most are on their
	// way, and to know is worth more than to be that much sooner.
	answerGrace = 50 * time.Millisecond

	// leastAttempt is the time that an attempt gets, if there is that much; otherwise half of what is left, so that a
	// server that hangs leaves time to try another connection.
	leastAttempt = time.Second
)

// Apply implements [driver.Driver]. Its errors, besides those of the contract, are [*driver.StoreError].
func (d *Driver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	if !d.enter() {
		return nil, driver.ErrClosed
	}
	defer d.leave()
	if len(batch) == 0 {
		return []driver.Response{}, nil
	}
	w := d.newWork(batch)
	defer w.done()
	bounded, cancel := context.WithTimeoutCause(ctx, d.options.Timeout, errTimeout)
	defer cancel()
	if err := d.gate.enter(bounded, w.stripes); err != nil {
		return nil, d.failed(ctx, w, context.Cause(bounded))
	}
	defer d.gate.leave(w.stripes)

	r := run{d: d, w: w}
	defer r.drop()
	start := time.Now()
	var trouble error // the last that was more than that time is up
	for n := 0; ; n++ {
		err := r.attempt(bounded)
		if err == nil {
			d.counters.batches.Add(1)
			return w.responses, nil
		}
		if errors.Is(err, driver.ErrUnknownOutcome) {
			d.counters.unknown.Add(1)
			return nil, err
		}
		c := classify(err)
		switch c {
		case fatal:
			if r.s != nil && leadsElsewhere(err) {
				r.s.discard()
				r.s = nil
			}
			return nil, d.failed(ctx, w, err)
		case conflict:
			d.counters.conflicts.Add(1)
			wait(bounded, n, conflictWait, conflictWaitMost)
		case stale:
			if r.s != nil {
				r.s.forget()
			}
		case broken:
			d.counters.broken.Add(1)
			r.drop()
			wait(bounded, n, brokenWait, brokenWaitMost)
		}
		if !isTimeUp(err) {
			trouble = err
			if c == conflict {
				trouble = &ContentionError{n + 1, time.Since(start), err}
			}
		}
		if bounded.Err() != nil {
			return nil, d.failed(ctx, w, cmp.Or(trouble, err))
		}
	}
}

// failed is the error of an Apply that ends without an answer.
func (d *Driver) failed(ctx context.Context, w *work, err error) error {
	ended := ctx.Err()
	switch {
	case ended == nil:
		err = d.options.storeError("apply", err)
	case isTimeUp(err):
		err = ended
	default: // what was wrong says more than that time is up
		err = d.options.storeError("apply", fmt.Errorf("%w: %w", ended, err))
	}
	if w.lost {
		d.counters.unknown.Add(1)
		return fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	}
	return err
}

// isTimeUp says that an error tells of nothing but a ctx that ended.
func isTimeUp(err error) bool {
	return errors.Is(err, errTimeout) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// wait waits before attempt n+1, or until ctx ends.
func wait(ctx context.Context, n int, first, most time.Duration) {
	timer := time.NewTimer(rand.N(min(first<<min(n, 10), most)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// run is one Apply's attempts, which share a connection as long as it lasts.
type run struct {
	d *Driver
	w *work
	s *session // nil: none yet, or not any more
}

func (r *run) drop() {
	if r.s != nil {
		r.s.release()
		r.s = nil
	}
}

// attempt runs the transaction once.
func (r *run) attempt(ctx context.Context) error {
	attempt, cancel := context.WithTimeout(ctx, share(ctx))
	defer cancel()
	if r.s == nil {
		s, err := r.d.acquire(attempt)
		if err != nil {
			return r.why(ctx, err)
		}
		r.s = s
	}
	r.w.reset()
	now, err := r.s.begin(attempt, &r.d.sql, r.w.keys, r.w.found)
	if err != nil {
		return r.why(ctx, err)
	}
	r.w.decide(now, r.d.tell != nil)
	if r.w.unknown {
		return fmt.Errorf("%w: an attempt was lost, and the state no longer remembers so far back", driver.ErrUnknownOutcome)
	}
	b, rows := r.w.writes(r.s, &r.d.sql)
	if b == nil {
		return nil // releasing the connection ends the transaction
	}
	if err := r.finish(ctx, now, b, rows); err != nil {
		return err
	}
	if len(r.w.ready) > 0 {
		r.d.tell(r.w.ready)
	}
	return nil
}

// why is err, or why ctx ended if that is what err comes from.
func (r *run) why(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err)) {
		return context.Cause(ctx)
	}
	return err
}

// share is the time that an attempt gets of what is left.
func share(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline() // there is one: Options.Timeout
	return max(time.Until(deadline)/2, leastAttempt)
}

// finish sends what is to be written, and COMMIT. From here on the outcome depends on the answer, so it doesn't end with
// ctx but a little later.
func (r *run) finish(ctx context.Context, now bucket.Micros, b *pgconn.Batch, rows int) error {
	apart, cancel := context.WithTimeout(context.WithoutCancel(ctx), share(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(answerGrace, cancel) })
	defer stop()
	err := r.s.finish(apart, b, rows)
	if err != nil && !isDefinite(err) {
		r.d.counters.lost.Add(1)
		if !r.w.lost {
			r.w.lost, r.w.since = true, now
		}
		err = r.why(ctx, err)
	}
	return err
}
