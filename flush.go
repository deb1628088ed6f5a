package throttle

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/driver"
)

// maxRequests bounds the families in one batch.
const maxRequests = 1024

// flusher sends the requests of all families that have some, one batch at a time (group commit): while one is under
// way, what arrives waits and goes out together with the next, without a timer, so that a lone caller pays nothing.
type flusher struct {
	mu      sync.Mutex
	dirty   []*family
	running bool
	idle    chan struct{} // closed when the loop under way has ended
}

// add puts a family into the next batch.
func (fl *flusher) add(l *Limiter, f *family) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if f.dirty {
		return
	}
	f.dirty = true
	fl.dirty = append(fl.dirty, f)
	if !fl.running {
		fl.running = true
		fl.idle = make(chan struct{})
		go fl.loop(l, fl.idle)
	}
}

// take returns the next families, or ends the loop.
func (fl *flusher) take(families []*family) []*family {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	n := min(len(fl.dirty), maxRequests)
	families = append(families[:0], fl.dirty[:n]...)
	for _, f := range families {
		f.dirty = false
	}
	rest := copy(fl.dirty, fl.dirty[n:])
	clear(fl.dirty[rest:])
	fl.dirty = fl.dirty[:rest]
	fl.running = n > 0
	return families
}

func (fl *flusher) loop(l *Limiter, idle chan struct{}) {
	defer close(idle)
	var families []*family
	var parts []*sending
	var batch []driver.Request
	for {
		// Those whom the last batch has woken may have something for this one: let them run first.
		runtime.Gosched()
		if families = fl.take(families); len(families) == 0 {
			return
		}
		for _, f := range families {
			f.mu.Lock()
			if s := f.collect(); s != nil {
				parts, batch = append(parts, s), append(batch, s.request)
			}
			f.mu.Unlock()
		}
		if len(parts) > 0 {
			l.send(parts, batch)
		}
		for _, s := range parts {
			if f := s.family; f.hasWork() {
				fl.add(l, f)
			}
			s.free()
		}
		clear(parts)
		clear(batch)
		parts, batch = parts[:0], batch[:0]
	}
}

// send carries out one batch.
func (l *Limiter) send(parts []*sending, batch []driver.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), l.storeTimeout)
	defer cancel()
	start := time.Now()
	responses, err := l.driver.Apply(ctx, batch)
	took := time.Since(start)
	if err == nil && !answersAll(batch, responses) {
		err = errShortAnswer
	}
	if err != nil {
		fire(l.hooks.Load().StoreError, StoreErrorInfo{Families: len(batch), Took: took, Err: err})
	} else if hook := l.hooks.Load().StoreAnswered; hook != nil {
		operations := 0
		for i := range batch {
			operations += len(batch[i].Ops)
		}
		fire(hook, StoreAnsweredInfo{Families: len(batch), Operations: operations, Took: took})
	}
	for i, s := range parts {
		if err == nil {
			s.response = responses[i]
		}
		s.deliver(err)
	}
}

// answersAll says whether a driver answered every operation: a third party's might not.
func answersAll(batch []driver.Request, responses []driver.Response) bool {
	if len(responses) != len(batch) {
		return false
	}
	for i := range batch {
		if len(responses[i].Results) != len(batch[i].Ops) {
			return false
		}
	}
	return true
}

// wait returns when no batch is under way, nor any waiting to go.
func (fl *flusher) wait() {
	fl.mu.Lock()
	idle, running := fl.idle, fl.running
	fl.mu.Unlock()
	if running {
		<-idle
	}
}

// hasWork says whether something of the family is due.
func (f *family) hasWork() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.tasks) > 0 || f.mustShift {
		return true
	}
	for _, ln := range f.lanes {
		if ln.due {
			return true
		}
	}
	return false
}

// notifier is the limiter's subscription to a driver that tells of places that are ready. It is made when a call first
// has to wait.
type notifier struct {
	stands atomic.Bool

	mu      sync.Mutex
	trying  bool
	closed  bool
	retryAt time.Time
	cancel  context.CancelFunc
	stop    func()
	work    sync.WaitGroup
}

// active says whether the driver will tell of freed capacity.
func (n *notifier) active() bool { return n.stands.Load() }

// retryNotify is how long a failed subscription is left alone.
const retryNotify = 5 * time.Second

// start subscribes, if the driver can notify and nobody has yet.
func (n *notifier) start(l *Limiter) {
	if n.stands.Load() {
		return
	}
	d, ok := l.driver.(driver.Notifier)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.trying || n.closed || n.stands.Load() || time.Now().Before(n.retryAt) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.storeTimeout)
	if l.local != nil {
		defer cancel()
		if stop, err := d.Notify(ctx, func(key, place string) { n.ready(l, key, place) }); err == nil {
			n.stop = stop
			n.stands.Store(true)
		}
		return
	}
	n.trying, n.cancel = true, cancel
	n.work.Go(func() {
		defer cancel()
		stop, err := d.Notify(ctx, func(key, place string) { n.ready(l, key, place) })
		if err != nil {
			fire(l.hooks.Load().StoreError, StoreErrorInfo{Err: err})
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		n.trying = false
		if err != nil {
			n.retryAt = time.Now().Add(retryNotify)
			return
		}
		n.stop = stop
		n.stands.Store(true)
	})
}

// ready marks the lane that has the place, and sees to it that it asks.
func (n *notifier) ready(l *Limiter, key, place string) {
	f := l.families.get(key)
	if f == nil || !f.markReady(place) {
		return
	}
	if l.local == nil {
		f.pump()
	} else if f.busy.Load() == 0 { // else the call that made room is ours, and pumps when it is through
		n.work.Go(f.pump)
	}
}

// markReady says whether the place is one of ours and nobody is about to ask anyway.
func (f *family) markReady(place string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ln := range f.lanes {
		if ln.place == place && ln.head != nil {
			ln.due = true
			if f.pumping {
				f.again = true
				return false
			}
			return true
		}
	}
	return false
}

func (n *notifier) close() {
	n.mu.Lock()
	n.closed = true
	if n.cancel != nil {
		n.cancel()
	}
	n.mu.Unlock()
	n.work.Wait() // a subscription on its way
	n.mu.Lock()
	stop := n.stop
	n.stop = nil
	n.mu.Unlock()
	n.stands.Store(false)
	if stop != nil {
		stop()
	}
	n.work.Wait() // calls that it started
}
