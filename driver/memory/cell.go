package memory

import (
	"runtime"
	"sync"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// cell holds one key's state under a lock of its own, so that keys don't disturb each other. It is the key's
// [driver.Pinned] as well: the fewer things there are to follow, the less a processor waits for memory where keys are many.
type cell struct {
	mu     sync.Mutex
	held   bool   // in the shard's map; changes only under the shard's lock too
	count  uint32 // operations
	driver *Driver
	shard  *shard
	other  *cell // lent in this one's place; nil but while that is so
	state  bucket.State
	room   [roomFor]bucket.Bucket
	key    string // last, and read where it must be only: it is a cache line of its own
}

// roomFor is how many buckets a cell has beside its state.
const roomFor = 4

func (d *Driver) newCell(s *shard, key string) *cell {
	c := &cell{driver: d, shard: s, key: key}
	c.state.Buckets = c.room[:0]
	return c
}

// Lock implements [driver.Pinned].
func (c *cell) Lock() (*bucket.State, error) {
	if !c.mu.TryLock() {
		c.lock()
	}
	if !c.held {
		c.mu.Unlock()
		return c.begin()
	}
	return &c.state, nil
}

// looks is how often one who finds a cell locked looks again, which takes about as long as most have it locked, and rests
// how often he lets others run before he looks so often again. Only then is he parked: that costs more than what is done
// under the lock, and who has been parked for a millisecond makes everybody else park too, see docs/decisions/0013.
const (
	looks = 30
	rests = 4
)

func (c *cell) lock() {
	for range rests {
		for range looks {
			if c.mu.TryLock() {
				return
			}
		}
		runtime.Gosched()
	}
	c.mu.Lock()
}

// begin locks a cell that isn't held: until Unlock with its shard, so that nobody else begins the key. If another cell
// holds the key by now, that one is locked and lent instead.
func (c *cell) begin() (*bucket.State, error) {
	s := c.shard
	s.mu.Lock()
	c.mu.Lock()
	switch other := s.cells[c.key]; {
	case c.driver.closed.Load():
		c.mu.Unlock()
		s.mu.Unlock()
		return nil, driver.ErrClosed
	case other == c: // by now
		s.mu.Unlock()
	case other != nil:
		other.mu.Lock()
		c.other = other
		s.mu.Unlock()
		return &other.state, nil
	default:
		c.state = bucket.State{Buckets: c.room[:0]}
	}
	return &c.state, nil
}

// counted is how many operations of a cell are counted at once: what all cells share is written that much less often.
const counted = 64

// Unlock implements [driver.Pinned].
func (c *cell) Unlock(freed bool) {
	if !c.held {
		c.end(freed)
		return
	}
	ready := c.ready(freed)
	if c.count++; c.count%counted == 0 {
		c.shard.until.Add(-counted)
	}
	c.mu.Unlock()
	c.after(ready)
}

// end unlocks what begin has locked.
func (c *cell) end(freed bool) {
	if other := c.other; other != nil {
		c.other = nil
		c.mu.Unlock()
		other.Unlock(freed)
		return
	}
	ready := c.ready(freed)
	if !c.state.Absent(c.state.At) {
		c.shard.put(c)
	}
	c.mu.Unlock()
	c.shard.mu.Unlock()
	c.after(ready)
}

// ready are the places that whoever has freed something has made room for.
func (c *cell) ready(freed bool) (places []string) {
	if freed && len(c.state.Line) > 0 && c.driver.watchers.Load() != nil {
		c.state.Ready(c.driver.now(), func(place string) bool { places = append(places, place); return true })
	}
	return places
}

// after does what comes after a request, without any lock: whoever is told may ask again.
func (c *cell) after(ready []string) {
	if c.shard.until.Load() <= 0 {
		c.shard.sweepIfDue(c.driver)
	}
	if len(ready) > 0 {
		c.driver.tell(c.key, ready)
	}
}
