package throttle

import (
	"math"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// Option configures a limiter made by [New].
type Option interface{ apply(*config) }

// CallOption configures one call, or, given to [New], every call that doesn't say otherwise.
type CallOption func(*call)

func (o CallOption) apply(c *config) {
	if o != nil {
		o(&c.call)
	}
}

type optionFunc func(*config)

func (o optionFunc) apply(c *config) { o(c) }

// config is what options set.
type config struct {
	call         call
	base         []*Hooks
	maxWaiters   int
	maxFamilies  int
	poll         time.Duration
	grace        time.Duration
	storeTimeout time.Duration
}

// call is what call options set.
type call struct {
	flow     string
	weight   float64
	priority int32
	failFast bool
	err      error
}

// Flow says who shares: while calls of several flows wait for a family, each flow gets capacity in proportion to its
// weight, by tokens and not by number of calls, whatever their sizes and however many processes it has. By default each
// limiter is a flow of its own, of weight 1. The name is 1 to 256 bytes of UTF-8 without control characters; the weight
// is 1e-6 to 1e6.
func Flow(name string, weight float64) CallOption {
	return func(c *call) {
		switch {
		case !bucket.ValidName(name):
			c.err = &ArgumentError{"flow", name, "1 to 256 bytes of UTF-8 without control characters"}
		case !(weight >= 1e-6 && weight <= 1e6):
			c.err = &ArgumentError{"weight", weight, "1e-6 to 1e6"}
		}
		c.flow, c.weight = name, weight
	}
}

// Priority puts a call before all waiting calls of lower priority, in every process; 0 is the default, negative ones
// come last. Within a priority, flows share fairly. A steady stream of high priority can starve what is below it.
func Priority(p int) CallOption {
	return func(c *call) {
		if p < math.MinInt32 || p > math.MaxInt32 {
			c.err = &ArgumentError{"priority", p, "a 32-bit number"}
		}
		c.priority = int32(max(math.MinInt32, min(math.MaxInt32, p)))
	}
}

// FailFast makes a waiting call return a [*DeadlineError] as soon as its expected wait would pass its context's
// deadline. Without it the call waits until the deadline, since credits may come sooner than refill alone promises.
func FailFast() CallOption { return func(c *call) { c.failFast = true } }

// WithHooks makes the limiter call the functions of each of hooks, besides those of another WithHooks; see [Hooks].
func WithHooks(hooks ...*Hooks) Option {
	return optionFunc(func(c *config) { c.base = append(c.base, hooks...) })
}

// MaxWaiters bounds how many calls may wait at once, over all families; 1,000,000 by default. When it is reached, a call
// takes the place of the newest one of the lowest priority in its family, if that is lower than its own, and is refused
// otherwise; who has to go gets a [*FullError].
func MaxWaiters(n int) Option { return optionFunc(func(c *config) { c.maxWaiters = n }) }

// MaxFamilies bounds how many families the limiter keeps in the process; 100,000 by default. Idle ones are dropped; when
// all are in use, a call for another one gets a [*FullError].
func MaxFamilies(n int) Option { return optionFunc(func(c *config) { c.maxFamilies = n }) }

// PollInterval is the longest time after which a process that waits asks a shared store again, and so the longest that a
// credit in another process goes unnoticed where the driver has no notification: 100 ms by default, 1 s with
// notification. A store in the process isn't polled: what this limiter gives back counts for those who wait here within
// 10 ms, what another one on the same driver does within 100 ms.
func PollInterval(d time.Duration) Option { return optionFunc(func(c *config) { c.poll = d }) }

// LeaseGrace is how late a poll may be before the store drops the process's place in the line; 2 s by default. A process
// that dies in line delays the rest by at most the poll interval and this.
func LeaseGrace(d time.Duration) Option { return optionFunc(func(c *config) { c.grace = d }) }

// StoreTimeout bounds one round trip to the store; 5 s by default. It is the store's own: no caller's context cuts short
// a batch that carries others. What comes while a batch is under way goes with the next, so a call may take two of them.
func StoreTimeout(d time.Duration) Option { return optionFunc(func(c *config) { c.storeTimeout = d }) }

// validate returns an [*ArgumentError] for the first option out of range.
func (c *config) validate() error {
	switch {
	case c.call.err != nil:
		return c.call.err
	case c.maxWaiters < 1:
		return &ArgumentError{"MaxWaiters", c.maxWaiters, "at least 1"}
	case c.maxFamilies < 1:
		return &ArgumentError{"MaxFamilies", c.maxFamilies, "at least 1"}
	case c.poll < 0 || c.poll > time.Hour:
		return &ArgumentError{"PollInterval", c.poll, "up to an hour; 0 for the default"}
	case c.grace < 0 || c.grace > time.Hour:
		return &ArgumentError{"LeaseGrace", c.grace, "up to an hour"}
	case c.storeTimeout <= 0:
		return &ArgumentError{"StoreTimeout", c.storeTimeout, "more than 0"}
	}
	return nil
}
