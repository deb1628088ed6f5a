package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
)

// Way is one manner of sending the workload.
type Way string

// The ways, in the order in which they are tried.
const (
	// NoLimiter sends everything at once and tries again after a random, growing wait when it is refused.
	NoLimiter Way = "no-limiter"
	// NoRefund reserves what a request may use, and leaves it at that.
	NoRefund Way = "no-refund"
	// Throttle reserves what a request may use, and gives back what it didn't.
	Throttle Way = "throttle"
)

// Ways are all three.
var Ways = []Way{NoLimiter, NoRefund, Throttle}

// Title names the way to people.
func (w Way) Title() string {
	switch w {
	case NoLimiter:
		return "no limiter, retries"
	case NoRefund:
		return "limiter, no refunds"
	default:
		return "throttle"
	}
}

// sender sends one request until it is answered.
type sender struct {
	client *client
	job    *Job
	lim    *throttle.Limiter // nil without a limiter
	emit   func(Event)
}

// all sends every request of the job, each on a goroutine of its own: who has a limiter needs no other bound, and who
// has none is naive.
func (s *sender) all(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, r := range s.job.Requests {
		wg.Go(func() {
			if err := s.one(ctx, r); err != nil {
				cancel(fmt.Errorf("request for %s: %w", r.Name, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (s *sender) one(ctx context.Context, r workload.Request) error {
	for attempt := 0; ; attempt++ {
		used, err := s.try(ctx, r)
		switch {
		case err == nil:
			s.emit(Event{Kind: Answered, Tokens: used})
			return nil
		case !errors.Is(err, errRefused):
			return err
		}
		s.emit(Event{Kind: Refused})
		if err := pause(ctx, s.job.backoff(attempt)); err != nil {
			return err
		}
	}
}

// try sends r once, under the limiter if there is one, and returns the tokens it used.
func (s *sender) try(ctx context.Context, r workload.Request) (int, error) {
	if s.lim == nil {
		return s.client.send(ctx, r.Body)
	}
	reserved := throttle.Usage{"requests": 1, "tokens": float64(r.Reserve)}
	var used int
	err := s.lim.Do(ctx, workload.Model, reserved, func(ctx context.Context) (throttle.Usage, error) {
		var err error
		used, err = s.client.send(ctx, r.Body)
		if err != nil || s.job.Way == NoRefund {
			return nil, err
		}
		return throttle.Usage{"requests": 1, "tokens": float64(used)}, nil
	})
	return used, err
}

// backoff is the random exponential wait, from 1 s to 60 s of a real minute, that OpenAI's cookbook advises for rate
// limit errors ("How to handle rate limits").
func (j *Job) backoff(attempt int) time.Duration {
	unit := j.Minute / 60
	highest := min(j.Minute, unit<<min(attempt, 6))
	return unit + time.Duration(rand.Int64N(int64(highest-unit)+1))
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
