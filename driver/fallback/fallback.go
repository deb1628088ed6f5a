// Package fallback decides what happens while a shared store is down. Without it a limiter fails closed: calls fail with
// a *throttle.StoreError and nothing is granted that could not be counted. With it calls go on, either without limits or
// within a local share of them.
//
// # Basics
//
//	store, err := driver.Open(ctx, "redis://localhost:6379")
//	lim := throttle.New(fallback.Share(store, nil), models)
//
// [Share] counts the processes that use the store, and while it is down keeps each to its part of every quota: eight
// processes get an eighth of the limit and of the burst each, from a bucket in memory that is empty when the outage is
// noticed, so that nothing which was used before is granted again. What costs more than a share's burst, and not more than the
// whole one, is granted when the share is full, and the rest is a debt of the share.
//
// [Open] grants everything while the store is down, for programs that would rather meet a 429 than wait.
//
// Meanwhile one attempt at a time, beside the calls, finds out whether the store answers. When it does, it is told what it
// has missed before this process is granted anything there: pauses, with what is left of them, and limits that were set,
// after either; what was used and given back, after Share.
//
// # Caveats
//
// Processes are counted with the calls that they make, up to ten seconds apart (a second while the number changes), and
// remembered for thirty seconds. So one that dies, during an outage or up to half a minute before it, still counts: its part
// is granted to nobody until the store is back. One that starts during an outage takes itself for the only one, and one
// that came in the last seconds before it, or had been idle for longer than half a minute, isn't counted by those that
// haven't called since: the sum of the shares then passes the limit by the part of each such process. Where that
// matters, say how many there are at most: [Options.Processes].
//
// Only what a call in the outage says is known in it: pauses, limits set at run time and debts from before are not. What is
// set in it reaches the other processes when the store is back. A level that a provider reports ([bucket.Observe]) lowers
// the share, by its part, and isn't told to the store; a limit that it reports is.
//
// What was reserved before the outage and is settled during it gives its credit to the local share at once, and to the
// store when that is back; with Open it is lost, and comes back by refill. Places in the store's line are lost when their
// leases run out.
//
// If the store's answer to what it is told is lost, debts are told again, and may count twice; credits are not, and may be
// lost. What is not told when the driver is closed is lost as well.
package fallback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/presence"
)

// Options configures [Share] and [Open]; nil is the same as the zero Options.
type Options struct {
	// Retry is how long after an attempt the store is tried again while it is down; 0 or less means a second.
	Retry time.Duration
	// Patience bounds a round trip to the store, beside the caller's context: it is how long a call waits before an
	// outage is noticed. A context that ends sooner is no outage, so it should be less than throttle.StoreTimeout. 0 or
	// less means 2 seconds.
	Patience time.Duration
	// Processes is how many processes share the store, where that is known better than by counting, such as the most that a
	// deployment may start; 0 or less means to count those that were seen in the last 30 seconds.
	Processes int
	// OnChange, if not nil, is called when the store is found to be down (with its error), by a call that waits for it, and
	// when it is back (nil), by a goroutine that Close waits for: it must not call Close.
	OnChange func(err error)
}

// fallback is a driver that stands in for a store while that is down.
type fallback struct {
	store  driver.Driver
	open   bool
	opts   Options
	life   context.Context // until Close
	end    context.CancelFunc
	probes sync.WaitGroup // attempts under way; Add under mu

	mu        sync.Mutex
	closed    bool
	outage    *outage // nil while the store is up
	clock     clock
	processes processes
}

// Share returns a driver that uses store, and while it is down a local share of every quota. Closing it closes store.
// It panics if store is nil.
func Share(store driver.Driver, opts *Options) driver.Driver { return wrap(store, opts, false) }

// Open returns a driver that uses store, and while it is down grants everything that could be granted with it. Closing
// it closes store.
// It panics if store is nil.
func Open(store driver.Driver, opts *Options) driver.Driver { return wrap(store, opts, true) }

// notifying is a fallback for a store that notifies.
type notifying struct {
	*fallback
	driver.Notifier
}

func wrap(store driver.Driver, opts *Options, open bool) driver.Driver {
	if store == nil {
		panic("driver/fallback: there must be a store to stand in for")
	}
	d := &fallback{store: store, open: open, processes: processes{id: rand.Text(), seen: 1}}
	d.life, d.end = context.WithCancel(context.Background())
	if opts != nil {
		d.opts = *opts
	}
	if d.opts.Retry <= 0 {
		d.opts.Retry = time.Second
	}
	if d.opts.Patience <= 0 {
		d.opts.Patience = 2 * time.Second
	}
	if n, ok := store.(driver.Notifier); ok {
		return &notifying{d, n}
	}
	return d
}

// clock is the store's as far as it is known, so that an outage doesn't look like a clock that was set.
type clock struct {
	store    bucket.Micros // by its last answer; 0 before
	answered time.Time
}

func (c *clock) now() bucket.Micros {
	if c.store == 0 {
		return bucket.At(time.Now())
	}
	return c.store + bucket.MicrosOf(time.Since(c.answered))
}

// Apply implements [driver.Driver].
func (d *fallback) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil || len(batch) == 0 {
		return nil, err
	}
	if responses, err := d.standIn(ctx, batch); responses != nil || err != nil {
		return responses, err
	}
	responses, err := d.ask(ctx, batch)
	if err == nil || errors.Is(err, driver.ErrClosed) || ctx.Err() != nil {
		return responses, err
	}
	d.begin(err)
	if errors.Is(err, driver.ErrUnknownOutcome) {
		return nil, err // it may have been done: to do it here as well could do it twice
	}
	if responses, err := d.standIn(ctx, batch); responses != nil || err != nil {
		return responses, err
	}
	return nil, err // it is back by now
}

// standIn serves a batch from memory if the store is down; it returns nil and nil if it is up.
func (d *fallback) standIn(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	for {
		d.mu.Lock()
		o := d.outage
		switch {
		case d.closed:
			d.mu.Unlock()
			return nil, driver.ErrClosed
		case o == nil:
			d.mu.Unlock()
			return nil, nil
		case o.ending == nil:
			responses := o.apply(d.clock.now(), batch)
			d.mu.Unlock()
			return responses, nil
		}
		ending := o.ending
		d.mu.Unlock()
		select {
		case <-ending:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask sends a batch to the store, with a sign of life now and then.
func (d *fallback) ask(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	d.mu.Lock()
	due := d.processes.due()
	d.mu.Unlock()
	if !due {
		return d.send(ctx, batch)
	}
	responses, err := d.send(ctx, append(slices.Clip(batch), d.processes.sign()))
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes.see(responses[len(batch)].Waiting)
	return responses[:len(batch)], nil
}

// send sends a batch to the store, and waits as long as patience lasts.
func (d *fallback) send(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	responses, err := d.store.Apply(ctx, batch)
	if err != nil {
		return nil, err
	}
	if len(responses) != len(batch) {
		return nil, driver.ErrUnknownOutcome
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = clock{responses[0].Now, time.Now()}
	return responses, nil
}

// Close implements [driver.Driver]. It ends an attempt that is under way, and makes no other.
func (d *fallback) Close() error {
	d.mu.Lock()
	d.closed = true
	if d.outage != nil {
		d.outage.timer.Stop()
	}
	d.mu.Unlock()
	d.end()
	d.probes.Wait()
	return d.store.Close()
}

// Keys implements [driver.Lister], if the store does.
func (d *fallback) Keys(ctx context.Context) iter.Seq2[string, error] {
	if l, ok := d.store.(driver.Lister); ok {
		return presence.Families(l.Keys(ctx))
	}
	return func(yield func(string, error) bool) {
		yield("", fmt.Errorf("driver/fallback: a %T can't list its keys", d.store))
	}
}
