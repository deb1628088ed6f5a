package redis

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// Options are optional. A nil *Options is all defaults.
type Options struct {
	// Prefix starts every key in Redis, and the name of the channel that notifications go through. Processes that share
	// limits have the same; up to 1,024 bytes. Empty means "throttle:". With braces in it all keys share a slot.
	Prefix string
	// Timeout bounds an Apply, with all its attempts. 0 or less means 5 s.
	Timeout time.Duration
}

const (
	defaultPrefix  = "throttle:"
	defaultTimeout = 5 * time.Second
	maxPrefix      = 1024
)

// Driver keeps state in Redis. It is safe for concurrent use. It is a [driver.Lister] and a [driver.Notifier].
type Driver struct {
	client  redis.UniversalClient
	quick   redis.UniversalClient // the same, but its calls end soon after their ctx; nil if it can't
	owned   bool                  // Close closes the client
	prefix  string
	timeout time.Duration
	namer   *driver.Namer
	clock   clock
	// scriptsOnly says that the server knows no scripts by their hashes.
	scriptsOnly atomic.Bool

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls under way; Add under mu
	ending  context.Context
	end     context.CancelFunc // Close has begun
	watches map[*watch]struct{}
}

var (
	_ driver.Lister   = (*Driver)(nil)
	_ driver.Notifier = (*Driver)(nil)
)

// New returns a driver that uses a client: a *redis.Client, also one for Sentinel, or a *redis.ClusterClient. It does no
// I/O. The client stays the caller's to close, after the driver. New panics if there is no client or
// the prefix is too long.
func New(client redis.UniversalClient, o *Options) *Driver {
	if client == nil {
		panic("driver/redis: New needs a client")
	}
	d := &Driver{client: client, quick: prompt(client), prefix: defaultPrefix, timeout: defaultTimeout, namer: driver.NewNamer(), watches: map[*watch]struct{}{}}
	d.ending, d.end = context.WithCancel(context.Background())
	if _, ok := client.(*redis.Client); !ok {
		d.clock.several = true
	}
	if o != nil {
		if len(o.Prefix) > maxPrefix {
			panic("driver/redis: Options.Prefix is longer than 1,024 bytes")
		}
		if o.Prefix != "" {
			d.prefix = o.Prefix
		}
		if o.Timeout > 0 {
			d.timeout = o.Timeout
		}
	}
	return d
}

// patience is how long a ctx that has ended may go unnoticed when the server doesn't answer.
const patience = time.Second

// prompt returns the client in a form whose calls end when patience, or the ctx's deadline, is over, and which doesn't
// repeat them by itself, unless it is a cluster's. It shares the connections. nil if there is none.
func prompt(client redis.UniversalClient) redis.UniversalClient {
	switch c := client.(type) {
	case *redis.Client:
		timeout := patience
		if own := c.Options().ReadTimeout; own > 0 {
			timeout = min(timeout, own)
		}
		quick := c.WithTimeout(timeout)
		o := quick.Options() // its own
		o.MaxRetries, o.ContextTimeoutEnabled = 0, true
		return quick
	case *redis.ClusterClient:
		if c.Options().ContextTimeoutEnabled {
			return c
		}
	}
	return nil
}

// within is a ctx with an earlier deadline, kept by whoever asks for it: it needs no timer.
type within struct {
	context.Context
	deadline time.Time
}

// Deadline implements [context.Context].
func (w within) Deadline() (time.Time, bool) {
	if at, ok := w.Context.Deadline(); ok && at.Before(w.deadline) {
		return at, true
	}
	return w.deadline, true
}

// Apply implements [driver.Driver].
func (d *Driver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	if !d.begin() {
		return nil, driver.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		d.running.Done()
		return nil, err
	}
	if len(batch) == 0 {
		d.running.Done()
		return []driver.Response{}, nil
	}
	j, begin := d.newJob(batch), time.Now()
	if d.quick != nil {
		// Handing over to another goroutine and back costs as much as the whole call does. So the first attempt is made on
		// this one, and given so little time that a ctx which ends meanwhile is obeyed soon enough.
		again := j.attempt(within{ctx, begin.Add(min(patience, d.timeout/2))}, d.quick)
		if !again || ctx.Err() != nil {
			j.finish(ctx)
			d.running.Done()
			return j.responses, j.err
		}
	}
	if err := d.goOn(ctx, j, begin.Add(d.timeout)); err != nil {
		return nil, err // the goroutine may still be at work on the responses
	}
	return j.responses, nil
}

// goOn makes the attempts that may take long, on another goroutine, and waits for the outcome or until ctx, or the time
// for the call, ends.
func (d *Driver) goOn(ctx context.Context, j *job, end time.Time) error {
	if theirs, ok := ctx.Deadline(); !ok || theirs.After(end) {
		// An attempt that is under way at the end would leave open what became of it.
		j.last = end.Add(-min(mostWait, d.timeout/4))
	}
	ctx, cancel := context.WithDeadlineCause(ctx, end, errTimeout)
	defer cancel()
	j.done = make(chan struct{})
	go func() {
		defer d.running.Done()
		j.run(ctx)
	}()
	select {
	case <-j.done:
	case <-ctx.Done():
		if err, ok := j.abandon(ctx); ok {
			return err
		}
		<-j.done
	}
	return j.err
}

// begin counts a call under way, unless the driver is closed.
func (d *Driver) begin() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Add(1)
	return true
}

func (d *Driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Close implements [driver.Driver]. It waits for calls under way, which their contexts and the client's timeouts bound.
func (d *Driver) Close() error {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	watches := make([]*watch, 0, len(d.watches))
	for w := range d.watches {
		watches = append(watches, w)
	}
	d.mu.Unlock()
	d.end()
	for _, w := range watches {
		w.stop()
	}
	d.running.Wait()
	if first && d.owned {
		if err := d.client.Close(); err != nil {
			return &driver.StoreError{Driver: "redis", Doing: "close", Err: err}
		}
	}
	return nil
}

// redisKey is the key in Redis. The braces make it a hash tag, and keep keys that begin or end alike apart.
func (d *Driver) redisKey(key string) string { return d.prefix + "{" + key + "}" }

// clock remembers an instant by the server's clock.
type clock struct {
	several bool // servers answer, each with a clock of its own

	mu  sync.Mutex
	now bucket.Micros
	at  time.Time
}

// saw takes note of an answer's instant.
func (c *clock) saw(now bucket.Micros) {
	at := time.Now()
	c.mu.Lock()
	c.now, c.at = now, at
	c.mu.Unlock()
}

// known says whether there was an answer yet.
func (c *clock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.at.IsZero()
}

// margin is what the clocks of this process and of the servers may run, or stand, apart.
const margin = bucket.Second

// past is an instant by the server's clock that is over: no call made from here on is applied sooner.
func (c *clock) past() bucket.Micros {
	c.mu.Lock()
	defer c.mu.Unlock()
	past := c.now + bucket.Micros(time.Since(c.at)/time.Microsecond) - margin
	if c.several { // the next call may be answered by another
		return past
	}
	return max(c.now, past)
}
