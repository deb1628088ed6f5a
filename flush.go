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
// way, what arrives waits and goes out together with the next, without a timer, so that a lone caller pays nothing. It
// doesn't even pay for another goroutine, if it would wait for the answer whatever happens: handing a request over and
// the answer back costs as much as the store does.
type flusher struct {
	mu      sync.Mutex
	dirty   []*family
	running bool
	over    chan struct{} // closed when the batch under way is over; nil unless somebody waits for that
	begun   atomic.Int64  // batches
	arrived atomic.Int64  // calls of add
}

// add puts a family into the next batch. If none is under way, the batch is sent: here and now, or by a new goroutine.
func (fl *flusher) add(l *Limiter, f *family, here bool) {
	fl.arrived.Add(1)
	fl.mu.Lock()
	start := !fl.running
	if !f.dirty {
		f.dirty = true
		fl.dirty = append(fl.dirty, f)
		fl.running = true
	} else {
		start = false
	}
	fl.mu.Unlock()
	if start && here {
		fl.once(l)
	} else if start {
		go fl.loop(l)
	}
}

// once sends one batch, and leaves what has come meanwhile to another goroutine.
func (fl *flusher) once(l *Limiter) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	if b.send(l) && fl.more() {
		go fl.loop(l)
	}
	l.teller.add(b.untold, true)
	b.forget()
}

// loop sends batches until there is nothing to send.
func (fl *flusher) loop(l *Limiter) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for {
		fl.gather()
		if !b.send(l) {
			return
		}
		if len(b.untold) > 0 {
			l.teller.add(b.untold, false)
			b.forget()
			l.teller.rest()
		}
	}
}

// gather lets those whom the last batch has woken run first, while they come with something for the next one: each who
// comes too late waits for a whole round trip more, and the next batch goes without those who are in this one.
func (fl *flusher) gather() {
	for range maxGather {
		before := fl.arrived.Load()
		runtime.Gosched()
		if fl.arrived.Load() == before {
			return
		}
	}
}

// maxGather bounds how often others are let run, since those who have nothing to do with the limiter run as well.
const maxGather = 8

// take returns the next families, or ends the run.
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
	if n == 0 {
		fl.running = false
	} else {
		fl.begun.Add(1)
	}
	fl.tellOver()
	return families
}

// more says whether there is something to send; if not, the run has ended.
func (fl *flusher) more() bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if len(fl.dirty) == 0 {
		fl.running = false
		fl.tellOver()
	}
	return fl.running
}

func (fl *flusher) tellOver() {
	if fl.over != nil {
		close(fl.over)
		fl.over = nil
	}
}

// batch is what goes to the store in one call.
type batch struct {
	families []*family
	parts    []*sending
	requests []driver.Request
	untold   []func() // hooks to be called once all else is done
}

func (b *batch) forget() {
	clear(b.untold)
	b.untold = b.untold[:0]
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// send sends what is due; false, and the flusher's run has ended, if nothing is.
func (b *batch) send(l *Limiter) bool {
	if b.families = l.flusher.take(b.families); len(b.families) == 0 {
		return false
	}
	for _, f := range b.families {
		f.mu.Lock()
		if s := f.collect(); s != nil {
			b.parts, b.requests = append(b.parts, s), append(b.requests, s.request)
		}
		f.mu.Unlock()
	}
	if len(b.parts) > 0 {
		b.apply(l)
	}
	for _, s := range b.parts {
		s.free()
	}
	for _, f := range b.families {
		if f.hasWork() {
			l.flusher.add(l, f, false)
		}
	}
	clear(b.families)
	clear(b.parts)
	clear(b.requests)
	b.parts, b.requests = b.parts[:0], b.requests[:0]
	return true
}

// apply carries out the batch.
func (b *batch) apply(l *Limiter) {
	ctx, cancel := context.WithTimeout(context.Background(), l.storeTimeout)
	defer cancel()
	start := time.Now()
	responses, err := l.driver.Apply(ctx, b.requests)
	took := time.Since(start)
	if err == nil && !answersAll(b.requests, responses) {
		err = errShortAnswer
	}
	if hook := l.hooks.Load().StoreError; err != nil && hook != nil {
		info := StoreErrorInfo{Families: len(b.requests), Took: took, Err: err}
		b.untold = append(b.untold, func() { fire(hook, info) })
	}
	if hook := l.hooks.Load().StoreAnswered; err == nil && hook != nil {
		info := StoreAnsweredInfo{Families: len(b.requests), Took: took}
		for i := range b.requests {
			info.Operations += len(b.requests[i].Ops)
		}
		b.untold = append(b.untold, func() { fire(hook, info) })
	}
	for i, s := range b.parts {
		if err == nil {
			s.response = responses[i]
		}
		b.untold = s.deliver(err, b.untold)
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

// wait returns when what is to be sent by now has been, and what that leaves to be given back; at the latest when done is
// closed. It doesn't wait for what keeps coming.
func (fl *flusher) wait(done <-chan struct{}) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	// The batch under way, those for all who wait now, and one for what the first of them leaves; then the next begins.
	next := fl.begun.Load() + int64(len(fl.dirty)/maxRequests) + 3
	for fl.running && fl.begun.Load() < next {
		if fl.over == nil {
			fl.over = make(chan struct{})
		}
		over := fl.over
		fl.mu.Unlock()
		select {
		case <-over:
		case <-done:
		}
		fl.mu.Lock()
		if over == fl.over { // it isn't over: done is
			return
		}
	}
}

// hasWork says whether something of the family is due.
func (f *family) hasWork() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.due()
}

func (f *family) due() bool {
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
		if hook := l.hooks.Load().StoreError; err != nil && hook != nil {
			l.teller.add([]func(){func() { fire(hook, StoreErrorInfo{Err: err}) }}, false)
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
