package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// The hot family is always short: more callers want it than it can serve. All others come, are used for a moment, and go.
const (
	hot        = "hot"
	hotRate    = 1000            // tokens a second
	hotCallers = 8               // on each limiter
	newKeys    = 15              // a second, on each limiter
	turnover   = 5 * time.Second // on the average, at odd times, so that no sampling is in step with it
)

func models(_ context.Context, model string) (throttle.Model, error) {
	if model == hot {
		return throttle.Model{Quotas: []throttle.Quota{throttle.PerSecond("tokens", hotRate), throttle.PerSecond("requests", 40)}}, nil
	}
	return throttle.Model{Quotas: []throttle.Quota{throttle.PerSecond("tokens", 500), throttle.PerMinute("requests", 120)}}, nil
}

// caller does one thing after another with a limiter.
type caller struct {
	*soak
	lim *throttle.Limiter
	rng *rand.Rand
}

// pause waits, and says whether there is more to do.
func (c *caller) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.stop:
		return false
	case <-t.C:
		return true
	}
}

// failure is the error of a call if it is the store's, and nil if it is one of those that callers provoke here.
func failure(err error) error {
	var store *throttle.StoreError
	switch {
	case err == nil, errors.As(err, &store), errors.Is(err, throttle.ErrSettled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, throttle.ErrClosed), errors.Is(err, throttle.ErrNoCapacity):
		return nil
	}
	return err
}

// queue waits for the hot family, like a call to a provider that takes a while; some callers lose patience, some never
// make the call, some use more than they said, and some die.
func (c *caller) queue() {
	patience := 30 * time.Second
	var options []throttle.CallOption
	switch c.rng.IntN(10) {
	case 0, 1, 2:
		patience = time.Duration(1+c.rng.IntN(400)) * time.Millisecond
	case 3:
		patience = time.Duration(1+c.rng.IntN(2000)) * time.Millisecond
		options = append(options, throttle.FailFast())
	}
	switch c.rng.IntN(10) {
	case 0, 1, 2, 3:
		options = append(options, throttle.Flow("production", 3))
	case 4, 5:
		options = append(options, throttle.Flow(fmt.Sprint("tenant-", c.rng.IntN(1e6)), 1))
	case 6:
		options = append(options, throttle.Priority(c.rng.IntN(3)-1))
	}
	cost := float64(20 + c.rng.IntN(60))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := c.lim.Acquire(ctx, hot, throttle.Usage{"tokens": cost, "requests": 1}, options...)
	if err != nil {
		c.books.note(failure(err), nil)
		if errors.Is(err, throttle.ErrNoCapacity) {
			c.pause(10 * time.Millisecond)
		}
		return
	}
	c.books.note(nil, func(b *books) { b.granted += cost })
	c.pause(time.Duration(c.rng.IntN(30)) * time.Millisecond)
	var used float64
	switch c.rng.IntN(20) {
	case 0:
		return // a crash: it counts as used
	case 1, 2, 3:
		used = 0
	case 4, 5:
		used = cost + float64(c.rng.IntN(100))
	default:
		used = float64(c.rng.IntN(int(cost)))
	}
	c.settle(r, cost, used)
}

// settle gives back, or owes, and keeps at it while the store fails.
func (c *caller) settle(r *throttle.Reservation, cost, used float64) {
	for range 5 {
		var err error
		if used == 0 {
			err = r.Cancel(context.Background())
		} else {
			err = r.Settle(context.Background(), throttle.Usage{"tokens": used})
		}
		unknown := errors.Is(err, driver.ErrUnknownOutcome)
		c.books.note(failure(err), func(b *books) {
			switch back := cost - used; {
			case err == nil:
				b.credited += max(0, back)
				b.owed += max(0, -back)
			case unknown:
				b.maybe += max(0, back)
			}
		})
		if err == nil || unknown || errors.Is(err, throttle.ErrSettled) {
			return
		}
	}
}

// visit uses a family that nobody has used before, in one of the ways that leave something behind in its state.
func (c *caller) visit() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	name := fmt.Sprintf("tenant-%d/%x", c.rng.IntN(100), c.rng.Uint64())
	use := func(tokens float64) *throttle.Reservation {
		r, err := c.lim.Acquire(ctx, name, throttle.Usage{"tokens": tokens, "requests": 1})
		c.books.note(failure(err), nil)
		if err != nil {
			return nil
		}
		return r
	}
	note := func(err error) { c.books.note(failure(err), nil) }
	c.books.note(nil, func(b *books) { b.came++ })
	r := use(float64(1 + c.rng.IntN(500)))
	if r == nil {
		return
	}
	switch c.rng.IntN(8) {
	case 0: // a line
		if second := use(400); second != nil {
			note(second.Cancel(ctx))
		}
	case 1: // a debt of some seconds
		note(c.lim.Record(ctx, name, throttle.Usage{"tokens": float64(c.rng.IntN(5000))}))
	case 2:
		note(c.lim.SetLimit(ctx, name, throttle.PerSecond("tokens", float64(100+c.rng.IntN(1000)))))
		note(c.lim.ClearLimit(ctx, name, "tokens", time.Second))
	case 3:
		note(c.lim.Pause(ctx, name, time.Duration(c.rng.IntN(3000))*time.Millisecond))
		note(c.lim.Observe(ctx, name, throttle.Observation{Resource: "tokens", Remaining: float64(c.rng.IntN(500))}))
	case 4:
		return // a crash
	}
	note(r.Settle(ctx, throttle.Usage{"tokens": float64(c.rng.IntN(600))}))
}

// come opens a limiter of its own, as a process that starts does, lets some callers wait, and closes it under them.
func (c *caller) come(ctx context.Context) {
	d, leave, err := c.join(ctx)
	if err != nil {
		c.books.note(err, nil)
		return
	}
	guest := &caller{soak: c.soak, lim: throttle.New(d, models), rng: c.rng}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			guest.queue()
		}
	}()
	c.pause(time.Second)
	guest.lim.Close()
	<-done
	leave()
}
