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

// cell holds one key's state under a lock of its own, so that keys don't disturb each other. It is the key's
// [driver.Pinned] as well: the fewer things there are to follow, the less a processor waits for memory where keys are many.
type cell struct {
	mu     sync.Mutex
	held   bool   // in the shard's map; changes only under the shard's lock too
	count  uint32 // operations
	driver *Driver
	shard  *shard
	state  bucket.State
	room   [roomFor]bucket.Bucket
	key    string
}

// roomFor is how many buckets a cell has beside its state.
const roomFor = 4

func (d *Driver) newCell(s *shard, key string) *cell {
	c := &cell{driver: d, shard: s, key: key}
	c.state.Buckets = c.room[:0]
	return c
}

// Option changes what [New] makes.
type Option func(*Driver)

// WithClock makes the driver read the time from now instead of the process's clock, for tests.
func WithClock(now func() bucket.Micros) Option { return func(d *Driver) { d.now = now } }

// New returns an empty store. Its clock is the process's monotonic one, so that setting the wall clock changes nothing.
func New(options ...Option) *Driver {
	start := time.Now()
	base := bucket.At(start)
	d := &Driver{
		seed: maphash.MakeSeed(),
		now:  func() bucket.Micros { return base + bucket.Micros(time.Since(start)/time.Microsecond) },
	}
	for _, o := range options {
		o(d)
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
		if err := d.apply(&batch[i], &responses[i], true); err != nil {
			if i > 0 { // closed meanwhile, with some of it done
				err = fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
			}
			return nil, err
		}
	}
	return responses, nil
}

// ApplyLocal implements [driver.Local]. It allocates nothing for a key it holds, unless the request joins the line.
func (d *Driver) ApplyLocal(r *driver.Request, res *driver.Response) error {
	return d.apply(r, res, false)
}

// Pin implements [driver.Pinner].
func (d *Driver) Pin(key string) driver.Pinned {
	s := d.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cell(d, key)
}

// ApplyLocal implements [driver.Pinned].
func (c *cell) ApplyLocal(r *driver.Request, res *driver.Response) error {
	c.mu.Lock()
	if !c.held {
		c.mu.Unlock()
		return c.begin(r, res)
	}
	ready, err := c.carryOut(r, res, false)
	c.shard.after(c.driver, c.key, ready)
	return err
}

// begin does a request on a cell that is not held: the key may be held by another cell meanwhile; if not, it begins anew.
func (c *cell) begin(r *driver.Request, res *driver.Response) error {
	s := c.shard
	s.mu.Lock()
	if other := s.cells[c.key]; other != nil {
		c = other
		c.mu.Lock()
	} else {
		c.mu.Lock()
		c.state = bucket.State{Buckets: c.room[:0]}
	}
	ready, err := c.carryOut(r, res, false)
	s.mu.Unlock()
	s.after(c.driver, c.key, ready)
	return err
}

func (d *Driver) shard(key string) *shard { return &d.shards[maphash.String(d.seed, key)%shards] }

// cell returns the key's cell, one that isn't held if none is.
func (s *shard) cell(d *Driver, key string) *cell {
	if c := s.cells[key]; c != nil {
		return c
	}
	return d.newCell(s, key)
}

// apply does one request; full asks for what takes longer than the rest to work out.
func (d *Driver) apply(r *driver.Request, res *driver.Response, full bool) error {
	if len(r.Key) > driver.MaxKey {
		return &driver.KeyError{Len: len(r.Key)}
	}
	s := d.shard(r.Key)
	s.mu.Lock()
	c := s.cell(d, r.Key)
	c.mu.Lock()
	ready, err := c.carryOut(r, res, full)
	s.mu.Unlock()
	s.after(d, r.Key, ready)
	return err
}

// carryOut does a request under the cell's lock, which it releases; if the cell isn't held, the shard is locked as well. It
// returns the places that are ready, for [shard.after].
func (c *cell) carryOut(r *driver.Request, res *driver.Response, full bool) (ready []string, err error) {
	d, state := c.driver, &c.state
	if d.closed.Load() {
		c.mu.Unlock()
		return nil, driver.ErrClosed
	}
	request := bucket.Request{Limits: r.Limits, Ops: r.Ops}
	now := state.At
	if full || !c.held || !state.Timeless(&request) {
		now = d.now() // inside the lock: the order of nows is the order of requests
	}
	state.Apply(now, &request, res.Results)
	res.Now, res.Absent, res.Waiting = now, !c.held, len(state.Line)
	if !c.held && !state.Absent(now) {
		c.shard.put(c)
	}
	if full {
		res.AbsentAt = state.AbsentAt()
	}
	if res.Waiting > 0 && d.watchers.Load() != nil && frees(r, res) {
		state.Ready(now, func(place string) bool { ready = append(ready, place); return true })
	}
	if c.count++; c.count%counted == 0 {
		c.shard.until.Add(-counted)
	}
	c.mu.Unlock()
	return ready, nil
}

// counted is how many operations of a cell are counted at once: what all cells share is written that much less often.
const counted = 64

// after does what comes after a request, without any lock: whoever is told may ask again.
func (s *shard) after(d *Driver, key string, ready []string) {
	if s.until.Load() <= 0 {
		s.mu.Lock()
		if s.until.Load() <= 0 {
			s.sweep(d.now())
		}
		s.mu.Unlock()
	}
	if len(ready) > 0 {
		d.tell(key, ready)
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
