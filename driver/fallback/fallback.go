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
// processes get an eighth each, from a bucket in memory that starts empty, so that nothing which was used before is
// granted again. When the store is back, what was used meanwhile is debited there before anything else.
//
// [Open] grants everything while the store is down, for programs that would rather meet a 429 than wait.
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
// What was reserved before the outage and is settled during it gives its credit to the local share at once, and to the
// store when that is back. Places in the store's line are lost when their leases run out.
package fallback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/presence"
)

// Options configures [Share] and [Open]; nil is the same as the zero Options.
type Options struct {
	// Retry is how often the store is tried while it is down; 0 or less means once a second.
	Retry time.Duration
	// Patience bounds a round trip to the store, beside the caller's context: it is how long a call waits before an
	// outage is noticed. 0 or less means 2 seconds.
	Patience time.Duration
	// Processes is how many processes share the store, where that is known better than by counting, such as the most that a
	// deployment may start; 0 or less means to count those that were seen in the last 30 seconds.
	Processes int
	// OnChange, if not nil, is called when the store is found to be down (with its error) and when it is back (nil).
	OnChange func(err error)
}

// fallback is a driver that stands in for a store while that is down.
type fallback struct {
	store driver.Driver
	open  bool
	opts  Options
	id    string

	mu        sync.Mutex
	down      bool
	downUntil time.Time
	seen      int // processes
	greeted   time.Time
	greetNext time.Duration // after greeted
	storeNow  bucket.Micros // by the store's last answer
	answered  time.Time

	outageMu sync.RWMutex // held while the store is told of an outage, so that nothing is used locally meanwhile
	local    *memory.Driver
	used     usage
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
	d := &fallback{store: store, open: open, id: rand.Text(), seen: 1}
	if opts != nil {
		d.opts = *opts
	}
	if d.opts.Retry <= 0 {
		d.opts.Retry = time.Second
	}
	if d.opts.Patience <= 0 {
		d.opts.Patience = 2 * time.Second
	}
	d.local = memory.New(memory.WithClock(d.now))
	d.used = usage{}
	if n, ok := store.(driver.Notifier); ok {
		return &notifying{d, n}
	}
	return d
}

// now is the store's clock as far as it is known, so that an outage doesn't look like a clock that was set.
func (d *fallback) now() bucket.Micros {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.storeNow == 0 {
		return bucket.At(time.Now())
	}
	return d.storeNow + bucket.MicrosOf(time.Since(d.answered))
}

// Apply implements [driver.Driver].
func (d *fallback) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil || len(batch) == 0 {
		return nil, err
	}
	if !d.tryStore() {
		return d.applyLocally(ctx, batch)
	}
	responses, err := d.applyStore(ctx, batch)
	switch {
	case err == nil:
		d.set(nil)
		return responses, nil
	case errors.Is(err, driver.ErrClosed) || ctx.Err() != nil:
		return nil, err
	case errors.Is(err, driver.ErrUnknownOutcome):
		d.set(err)
		return nil, err // it may have been done: to do it here as well could do it twice
	}
	d.set(err)
	return d.applyLocally(ctx, batch)
}

// tryStore says whether to ask the store: always while it is up, one batch each Retry while it is down.
func (d *fallback) tryStore() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.down {
		return true
	}
	now := time.Now()
	if now.Before(d.downUntil) {
		return false
	}
	d.downUntil = now.Add(d.opts.Retry)
	return true
}

// set notes whether the store is down.
func (d *fallback) set(err error) {
	d.mu.Lock()
	changed := d.down != (err != nil)
	d.down = err != nil
	if d.down {
		d.downUntil = time.Now().Add(d.opts.Retry)
	}
	d.mu.Unlock()
	if changed && d.opts.OnChange != nil {
		d.opts.OnChange(err)
	}
}

// processes is how many processes, this one included, were seen to use the store last.
func (d *fallback) processes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.opts.Processes > 0 {
		return d.opts.Processes
	}
	return d.seen
}

// Presence is a line that never moves: each process keeps a place in it, with a lease, and its length is how many there
// are. So every driver can count, with what it has anyway.
const (
	presenceLeast = time.Second
	presenceEvery = 10 * time.Second
	presenceLease = 30 * bucket.Second
)

var presenceLimits, _ = bucket.NewLimits(bucket.Quota{Resource: "processes", Limit: 1, Per: bucket.Day})

// sign is a sign of life.
func (d *fallback) sign() driver.Request {
	return driver.Request{Key: presence.Key, Limits: presenceLimits, Ops: []bucket.Op{
		{Kind: bucket.Block, Span: bucket.Minute},
		{Kind: bucket.Acquire, Cost: []float64{1}, Place: d.id, Poll: bucket.MicrosOf(presenceEvery), Grace: presenceLease - bucket.MicrosOf(presenceEvery)},
	}}
}

// sees notes how many processes there are. While that changes it looks again soon: a fleet starts at once, and the first of
// it would take itself for the only one. mu is held.
func (d *fallback) sees(processes int) {
	processes = max(1, processes)
	if processes != d.seen || d.greetNext == 0 {
		d.greetNext = presenceLeast
	} else {
		d.greetNext = min(2*d.greetNext, presenceEvery)
	}
	d.seen = processes
}

// applyStore sends the batch, behind what the store has to be told of an outage, with a sign of life now and then.
func (d *fallback) applyStore(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Patience)
	defer cancel()
	debts := d.lockDebts()
	if debts != nil {
		defer d.outageMu.Unlock()
	}
	all := append(debts, batch...)
	d.mu.Lock()
	greet := time.Since(d.greeted) >= d.greetNext
	d.mu.Unlock()
	if greet {
		all = append(all, d.sign())
	}
	responses, err := d.store.Apply(ctx, all)
	if err != nil {
		return nil, err
	}
	if len(responses) != len(all) {
		return nil, driver.ErrUnknownOutcome
	}
	if debts != nil {
		d.forget()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if greet {
		d.greeted = time.Now()
		d.sees(responses[len(responses)-1].Waiting)
	}
	d.storeNow, d.answered = responses[0].Now, time.Now()
	return responses[len(debts) : len(debts)+len(batch)], nil
}

// Close implements [driver.Driver].
func (d *fallback) Close() error {
	d.outageMu.RLock()
	defer d.outageMu.RUnlock()
	return errors.Join(d.store.Close(), d.local.Close())
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
