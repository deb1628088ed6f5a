package throttle

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// lane holds the calls of one flow and priority that wait in this process, in order. Only its head has a place in the
// store's line, so that the line is never longer than processes × flows; when the head is granted, those behind it are
// tried in the same request. Everything here is guarded by the family's lock.
type lane struct {
	family   *family
	flow     string
	priority int32
	place    string
	placed   bool // the place may stand in the store's line
	due      bool // the head is to ask
	woken    bool // due, when the answer under way came: it may be older than what woke the lane
	chain    int  // how many of the lane go with the next request
	granted  int  // how many were granted since the last refusal
	timer    *time.Timer

	head, tail *waiter
	failFast   int // waiters that want to know of a wait that is too long

	// What the last refusal said.
	quota    int
	position int
	retryAt  time.Time
	stale    bool // something was given back here since
}

// waiter is one call that waits.
type waiter struct {
	next, prev  *waiter
	lane        *lane
	reservation *Reservation
	failFast    bool
	sent        bool        // in the request under way
	abandoned   bool        // its call is gone
	told        atomic.Bool // WaitStarted was called, or is due
	notice      *notice     // that, if it was the store's answer that made it due
	started     time.Time
	deadline    time.Time
	done        chan error
	ctx         context.Context // for hooks
	binding     int             // the quota that bound last, once the call's fate is decided; -1 for none
}

// enqueue puts a call at the end of its lane, or says why it can't. A call that comes behind others who were refused
// already knows that it waits.
func (f *family) enqueue(w *waiter, c *call) error {
	l := f.limiter
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.closed.Load() {
		return ErrClosed
	}
	if f.dropped {
		return errDropped
	}
	ln := f.laneOf(c)
	if ln != nil && ln.placed && w.late(ln.retryAt) {
		if !ln.stale {
			return w.deadlineError(&bucket.Result{Quota: ln.quota, RetryAfter: bucket.MicrosOf(time.Until(ln.retryAt)), Place: ln.position})
		}
		ln.due = true // the store may say something better by now
	}
	if l.waiters.Load() >= int64(l.maxWaiters) && !f.shed(c.priority) {
		return &FullError{What: "waiters", Max: l.maxWaiters}
	}
	if ln == nil {
		ln = f.newLane(c)
	}
	w.lane, w.prev = ln, ln.tail
	if ln.tail == nil {
		ln.head = w
		ln.due = true
	} else {
		ln.tail.next = w // it goes with its head's next request
	}
	ln.tail = w
	w.told.Store(ln.placed)
	if w.failFast {
		ln.failFast++
	}
	l.waiters.Add(1)
	f.waiting.Add(1)
	return nil
}

// laneOf returns the lane of a call, nil if nobody waits there.
func (f *family) laneOf(c *call) *lane {
	for _, ln := range f.lanes {
		if ln.flow == c.flow && ln.priority == c.priority {
			return ln
		}
	}
	return nil
}

func (f *family) newLane(c *call) *lane {
	ln := &lane{family: f, flow: c.flow, priority: c.priority, place: f.limiter.newPlace(), chain: maxChain, quota: -1}
	f.lanes = append(f.lanes, ln)
	return ln
}

// shed ends the wait of the newest call of the lowest priority below the given one.
func (f *family) shed(priority int32) bool {
	var lowest *lane
	for _, ln := range f.lanes {
		if ln.priority < priority && (lowest == nil || ln.priority < lowest.priority) {
			lowest = ln
		}
	}
	if lowest == nil {
		return false
	}
	for w := lowest.tail; w != nil; w = w.prev {
		if !w.sent && !w.abandoned {
			f.finish(w, &FullError{What: "waiters", Max: f.limiter.maxWaiters, Shed: true})
			return true
		}
	}
	return false
}

// remove takes a waiter out of its lane, and the lane out of the family if it was the last. A place that may stand in
// the line is left, or taken over by the next head, which asks at once: it may fit where its predecessor didn't.
func (f *family) remove(w *waiter) {
	ln := w.lane
	if ln == nil {
		return
	}
	wasHead := ln.head == w
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		ln.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		ln.tail = w.prev
	}
	w.lane, w.next, w.prev = nil, nil, nil
	if !w.abandoned {
		w.binding = ln.quota // else its call may be reading it
	}
	if w.failFast {
		ln.failFast--
	}
	f.limiter.waiters.Add(-1)
	f.waiting.Add(-1)
	if ln.head != nil {
		if wasHead {
			ln.due = true
			f.lookout.wanted = f.lookout.wanted || ln.placed // those behind may have less ahead of them
		}
		return
	}
	if ln.timer != nil {
		ln.timer.Stop()
	}
	if ln.placed {
		ln.placed = false
		f.tasks = append(f.tasks, &task{op: bucket.Op{Kind: bucket.Leave, Place: ln.place}, plan: f.plan.Load()})
	}
	for i, o := range f.lanes {
		if o == ln {
			last := len(f.lanes) - 1
			f.lanes[i], f.lanes[last] = f.lanes[last], nil
			f.lanes = f.lanes[:last]
			break
		}
	}
	if len(f.lanes) == 0 {
		f.lookNoMore()
	}
}

// finish takes a waiter out of its lane and tells its call what became of it.
func (f *family) finish(w *waiter, err error) {
	f.remove(w)
	w.done <- err
}

func (f *family) failLane(ln *lane, err error) {
	for w := ln.head; w != nil; {
		next := w.next
		if w.sent {
			w.abandon() // what it is granted now goes back
			w.done <- err
		} else if !w.abandoned {
			f.finish(w, err)
		}
		w = next
	}
}

// abandon marks a waiter whose call goes while the request that it is in is under way.
func (w *waiter) abandon() { w.binding, w.abandoned = w.lane.quota, true }

// cancel withdraws a waiter whose context has ended. It returns false if the call's fate was decided before: then done
// holds it.
func (f *family) cancel(w *waiter) bool {
	f.mu.Lock()
	if w.lane == nil || w.abandoned {
		f.mu.Unlock()
		return false
	}
	if w.sent {
		w.abandon() // the request's answer will find it so
		f.mu.Unlock()
		return true
	}
	f.remove(w)
	f.mu.Unlock()
	f.pump()
	return true
}

// wait schedules the lane's next poll after a refusal.
func (ln *lane) wait(res *bucket.Result, now time.Time) {
	l := ln.family.limiter
	ln.placed = true
	ln.position, ln.quota = res.Place, res.Quota
	d := res.RetryAfter.Duration()
	ln.retryAt, ln.stale = now.Add(d), false
	if l.local == nil {
		d = min(d, l.interval())
	} else if d > lookEvery {
		ln.family.lookIn(lookEvery, now)
	}
	if ln.timer == nil {
		ln.timer = time.AfterFunc(d, ln.poll)
	} else {
		ln.timer.Reset(d)
	}
}

// poll is the lane's timer.
func (ln *lane) poll() {
	f := ln.family
	f.mu.Lock()
	ln.due = ln.head != nil
	due := ln.due
	f.mu.Unlock()
	if due {
		f.pump()
	}
}

// op is the head's acquire, or, after it, that of one who follows.
func (w *waiter) op(follows bool) bucket.Op {
	ln, r := w.lane, w.reservation
	l := ln.family.limiter
	op := bucket.Op{
		Kind: bucket.Acquire, Cost: r.amounts.costs.slice(), Place: ln.place, After: follows,
		Flow: ln.flow, Weight: r.call.weight, Priority: ln.priority,
	}
	if l.local == nil {
		op.Poll, op.Grace = bucket.MicrosOf(l.interval()), bucket.MicrosOf(l.grace)
	} else {
		op.Grace = bucket.Hour // the process can't outlive its store: only a late timer is to be survived
	}
	return op
}

// await waits for a waiter's fate, or for ctx to end.
func (f *family) await(ctx context.Context, w *waiter) error {
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
	}
	if f.cancel(w) {
		return ctx.Err()
	}
	if err := <-w.done; err != nil {
		return err
	}
	// Granted in that very instant: it goes back.
	r := w.reservation
	f.later(bucket.Op{Kind: bucket.Adjust, Cost: r.amounts.costs.slice(), Flow: r.call.flow, Weight: r.call.weight}, r.amounts.plan)
	return ctx.Err()
}

// fate turns the outcome of an acquire that wasn't refused into what its caller gets.
func (r *Reservation) fate(res *bucket.Result) error {
	switch res.Status {
	case bucket.Granted:
		return nil
	case bucket.TooLarge:
		return tooLarge(r.model, r.family, r.amounts.plan, &r.amounts.costs, res)
	case bucket.Unknown:
		return r.family.storeError("acquire", driver.ErrUnknownOutcome)
	}
	return r.family.storeError("acquire", errRefusedOp)
}
