// Package memory keeps a limiter's state in the process: nothing is shared and nothing is kept.
//
// # Basics
//
//	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 500)))
//
// or by URL, memory:// (it takes no options).
//
// # Caveats
//
// A restart forgets everything, debts included: a program that is started often can pass a limit by a burst each time.
// Use driver/bolt where that matters. Limiters share a key only if they share the Driver.
package memory

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

func init() {
	driver.Register("memory", func(_ context.Context, u *url.URL) (driver.Driver, error) {
		if u.Host != "" || u.Path != "" || u.Opaque != "" {
			return nil, errors.New("want memory:// alone: nothing is kept anywhere, so there is no host or path")
		}
		if err := driver.NewQuery(u).Err(); err != nil {
			return nil, err
		}
		return New(), nil
	})
}

// shards is how many maps the keys are spread over.
const shards = 64

// Driver is a [driver.Driver] in memory. It also is a [driver.Local], a [driver.Lister] and a [driver.Notifier].
type Driver struct {
	now    func() bucket.Micros
	seed   maphash.Seed
	shards [shards]shard
	closed atomic.Bool

	watchMu  sync.Mutex
	watchers atomic.Pointer[[]*watcher]
}

// shard is a map of the keys that are held. Its lock comes before those of its cells.
type shard struct {
	mu    sync.Mutex
	cells map[string]*cell
	peak  int          // the most keys the map has held since it was made
	until atomic.Int64 // operations until the next sweep
}

// Option changes what [New] makes.
type Option func(*Driver)

// WithClock makes the driver read the time from now instead of the process's clock, for tests. A nil now changes nothing.
func WithClock(now func() bucket.Micros) Option {
	return func(d *Driver) {
		if now != nil {
			d.now = now
		}
	}
}

// New returns an empty store. Its clock is the process's monotonic one, so that setting the wall clock changes nothing.
func New(options ...Option) *Driver {
	start := time.Now()
	base := bucket.At(start)
	d := &Driver{
		seed: maphash.MakeSeed(),
		now:  func() bucket.Micros { return base + bucket.Micros(time.Since(start)/time.Microsecond) },
	}
	for _, o := range options {
		if o != nil {
			o(d)
		}
	}
	for i := range d.shards {
		d.shards[i].clear()
	}
	return d
}

// Apply implements [driver.Driver].
func (d *Driver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	responses := make([]driver.Response, len(batch))
	for i := range batch {
		responses[i].Results = make([]bucket.Result, len(batch[i].Ops))
		if err := d.apply(&batch[i], &responses[i]); err != nil {
			if i > 0 { // closed meanwhile, with some of it done
				err = fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
			}
			return nil, err
		}
	}
	return responses, nil
}

// Pin implements [driver.Local].
func (d *Driver) Pin(key string) driver.Pinned {
	s := d.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cell(d, key)
}

// Now implements [driver.Local].
func (d *Driver) Now() bucket.Micros { return d.now() }

func (d *Driver) shard(key string) *shard { return &d.shards[maphash.String(d.seed, key)%shards] }

// cell returns the key's cell, one that isn't held if none is.
func (s *shard) cell(d *Driver, key string) *cell {
	if c := s.cells[key]; c != nil {
		return c
	}
	return d.newCell(s, key)
}

// apply does one request.
func (d *Driver) apply(r *driver.Request, res *driver.Response) error {
	c := d.Pin(r.Key).(*cell)
	state, err := c.Lock()
	if err != nil {
		return err
	}
	now := d.now()
	res.Now, res.Absent = now, !c.held && c.other == nil
	state.Apply(now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, res.Results)
	res.Waiting, res.AbsentAt = len(state.Line), state.AbsentAt()
	c.Unlock(driver.FreesAny(r.Ops, res.Results))
	return nil
}

func (s *shard) sweepIfDue(d *Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until.Load() <= 0 {
		s.sweep(d.now())
	}
}

// each is how many operations a sweep waits for, for each key that is held. A key that comes counts as many, so that keys
// which are used only once are swept before they are twice as many.
const each = 8

// put holds a cell. The shard and the cell are locked.
func (s *shard) put(c *cell) {
	c.held = true
	s.cells[c.key] = c
	s.peak = max(s.peak, len(s.cells))
	s.until.Add(-each)
}

func (s *shard) clear() {
	for _, c := range s.cells {
		c.mu.Lock()
		c.held = false
		c.mu.Unlock()
	}
	s.cells, s.peak = map[string]*cell{}, 0
	s.until.Store(least)
}

// least is the fewest operations between two sweeps.
const least = 64 * each

// sweep drops the keys that equal absent ones. It runs after so many times as many operations as there are keys that it
// costs each of them the same few nanoseconds however many there are. A map that has been much larger is made anew: maps
// don't shrink.
func (s *shard) sweep(now bucket.Micros) {
	for key, c := range s.cells {
		c.mu.Lock()
		if c.state.Absent(now) {
			c.held = false
			delete(s.cells, key)
		}
		c.mu.Unlock()
	}
	if s.peak > 64 && len(s.cells) < s.peak/4 {
		s.cells = maps.Collect(maps.All(s.cells))
		s.peak = len(s.cells)
	}
	s.until.Store(max(least, each*int64(len(s.cells))))
}

// Close implements [driver.Driver].
func (d *Driver) Close() error {
	d.closed.Store(true)
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
	return nil
}

// Len is the number of keys held, those included that equal absent ones and were not dropped yet.
func (d *Driver) Len() int {
	n := 0
	for i := range d.shards {
		s := &d.shards[i]
		s.mu.Lock()
		n += len(s.cells)
		s.mu.Unlock()
	}
	return n
}

// Keys implements [driver.Lister].
func (d *Driver) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range d.shards {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			for _, key := range d.shards[i].keys(d.now()) {
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

func (s *shard) keys(now bucket.Micros) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]string, 0, len(s.cells))
	for key, c := range s.cells {
		c.mu.Lock()
		absent := c.state.Absent(now)
		c.mu.Unlock()
		if !absent {
			keys = append(keys, key)
		}
	}
	return keys
}
