package throttle

import (
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// maxOps bounds the operations of one request, and maxChain how many of them come from one lane: a store works on one
// key at a time, and others wait meanwhile.
const (
	maxOps   = 1024
	maxChain = 256
)

// sending is one family's part of a batch: the request, and whom each of its operations is for.
type sending struct {
	family   *family
	plan     *plan
	request  driver.Request
	response driver.Response
	ops      []bucket.Op
	results  []bucket.Result
	refs     []ref
}

// ref says whom an operation is for: a task, a waiter, or (neither) the limiter itself.
type ref struct {
	task   *task
	waiter *waiter
}

var sendings = sync.Pool{New: func() any { return new(sending) }}

func (s *sending) free() {
	clear(s.ops)
	clear(s.refs)
	clear(s.results)
	*s = sending{ops: s.ops[:0], refs: s.refs[:0], results: s.results[:0]}
	sendings.Put(s)
}

func (s *sending) add(op bucket.Op, r ref) {
	s.ops = append(s.ops, op)
	s.refs = append(s.refs, r)
}

// collect gathers what is due into a request; nil if nothing is. The family is locked.
func (f *family) collect() *sending {
	if len(f.tasks) == 0 && len(f.lanes) == 0 && !f.mustShift {
		return nil
	}
	p := f.plan.Load()
	s := sendings.Get().(*sending)
	s.family, s.plan = f, p
	if f.mustShift {
		f.mustShift = false
		s.add(bucket.Op{Kind: bucket.Rebase}, ref{})
	}
	n := min(len(f.tasks), maxOps)
	for _, t := range f.tasks[:n] {
		if err := t.due(f.limiter, p); err != nil {
			t.finish(err)
		} else {
			s.add(t.op, ref{task: t})
		}
	}
	if freesAny(f.tasks[:n]) {
		if !f.limiter.notifier.active() {
			f.wakeAll() // they ask behind what frees, in the same request
		}
		for _, ln := range f.lanes {
			ln.stale = true
		}
	}
	rest := copy(f.tasks, f.tasks[n:])
	clear(f.tasks[rest:])
	f.tasks = f.tasks[:rest]
	for _, ln := range f.lanes {
		if !ln.due || len(s.ops) >= maxOps {
			continue
		}
		ln.due = false
		for w, n := ln.head, 0; w != nil && n < ln.chain; w, n = w.next, n+1 {
			w.reservation.replan(p)
			w.sent = true
			s.add(w.op(n > 0), ref{waiter: w})
		}
	}
	if len(s.ops) == 0 {
		s.free()
		return nil
	}
	s.request = driver.Request{Key: f.name, Limits: p.limits, Ops: s.ops}
	for len(s.results) < len(s.ops) {
		s.results = append(s.results, bucket.Result{})
	}
	return s
}

func (r *Reservation) replan(p *plan) {
	if r.amounts.plan != p {
		r.amounts.costs = r.amounts.costs.under(r.amounts.plan, p)
		r.amounts.plan = p
	}
}

// deliver hands out the results of a request, or the error that it met. Hooks to be called afterwards are added: not by one
// whom a call waits for, or they couldn't call the limiter.
func (s *sending) deliver(err error, hooks []func()) []func() {
	f := s.family
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.limiter.local == nil {
		hooks = f.observeAnswer(&s.response, now, hooks)
	}
	for _, ln := range f.lanes {
		ln.woken = ln.due
	}
	for i, r := range s.refs {
		switch {
		case r.waiter != nil && err != nil:
			f.failed(r.waiter, err)
		case r.waiter != nil:
			hooks = f.decided(r.waiter, &s.response.Results[i], s.plan, now, hooks)
		case r.task != nil && err != nil:
			r.task.finish(err)
		case r.task != nil:
			t := r.task
			t.result = s.response.Results[i]
			if t.left && t.result.Status == bucket.Granted {
				f.tasks = append(f.tasks, t.back(s.plan))
			}
			t.finish(opError(&t.result))
		}
	}
	return hooks
}

// freesAny says whether tasks may make room for somebody.
func freesAny(tasks []*task) bool {
	for _, t := range tasks {
		if driver.Frees(&t.op, &bucket.Result{Status: bucket.Done}) {
			return true
		}
	}
	return false
}

// failed is a waiter's fate when the store fails. Whether it stands in the line nobody knows: the place is left.
func (f *family) failed(w *waiter, err error) {
	w.sent = false
	w.lane.placed = true
	if w.abandoned {
		f.remove(w)
		return
	}
	f.finish(w, f.storeError("acquire", err))
}

// decided is what the store's answer means for a waiter. The family is locked; hooks to be called afterwards are added.
func (f *family) decided(w *waiter, res *bucket.Result, p *plan, now time.Time, hooks []func()) []func() {
	w.sent = false
	ln, r := w.lane, w.reservation
	switch res.Status {
	case bucket.Granted:
		ln.placed = false
		ln.granted++
		ln.chain = max(ln.chain, min(maxChain, 2*ln.granted+4))
		if w.abandoned {
			f.remove(w)
			back := bucket.Op{Kind: bucket.Adjust, Cost: r.amounts.costs.slice(), Flow: r.call.flow, Weight: r.call.weight}
			f.tasks = append(f.tasks, &task{op: back, plan: p})
			return hooks
		}
		r.course.setWaited(now.Sub(w.started))
		f.finish(w, nil)
	case bucket.Refused:
		ln.wait(res, now)
		ln.chain, ln.granted = min(maxChain, 2*ln.granted+4), 0 // most of a longer one would be skipped
		ln.due = ln.woken
		if w.abandoned {
			f.remove(w)
			return hooks
		}
		hooks = f.tellWaiting(ln, hooks)
		ln.failLate(now.Add(res.RetryAfter.Duration()), res)
	case bucket.Skipped:
		if w.abandoned {
			f.remove(w)
		}
	default:
		ln.placed = false
		f.lookout.wanted = true // its place is gone
		if w.abandoned {
			f.remove(w)
			return hooks
		}
		f.finish(w, r.fate(res))
	}
	return hooks
}

// tellWaiting adds a WaitStarted for every waiter of the lane that was not told yet.
func (f *family) tellWaiting(ln *lane, hooks []func()) []func() {
	hook := f.limiter.hooks.Load().WaitStarted
	for w := ln.tail; w != nil && !w.told.Load(); w = w.prev {
		if w.abandoned {
			continue
		}
		w.told.Store(true)
		if hook != nil {
			w.notice = &notice{over: make(chan struct{}), hook: hook, ctx: w.ctx, info: w.info()}
			hooks = append(hooks, w.notice.tell)
		}
	}
	return hooks
}

// info describes a waiter as the lane knows it now. It has a copy of the reservation, which may yet be replanned.
func (w *waiter) info() WaitInfo {
	ln, r := w.lane, w.reservation
	asked := &Reservation{family: r.family, call: r.call, amounts: r.amounts, model: r.model}
	info := WaitInfo{
		Call: Call{asked}, Priority: int(ln.priority), Place: ln.position, Expected: max(0, time.Until(ln.retryAt)),
	}
	info.bind(ln.quota)
	return info
}

// ended describes a waiter that isn't one any more.
func (w *waiter) ended(c *call, err error) WaitInfo {
	info := WaitInfo{Call: Call{w.reservation}, Priority: int(c.priority), Waited: time.Since(w.started), Err: err}
	info.bind(w.binding)
	return info
}

// bind names the quota that binds; -1 is a pause.
func (i *WaitInfo) bind(quota int) {
	if limits := i.r.amounts.plan.limits; quota >= 0 && quota < limits.Len() {
		q := limits.Quota(quota)
		i.Resource, i.Per = q.Resource, q.Per.Duration()
	}
}

// failLate ends the waits that would pass their deadlines: nobody behind the head is granted before it.
func (ln *lane) failLate(retryAt time.Time, res *bucket.Result) {
	if ln.failFast == 0 {
		return
	}
	for w := ln.head; w != nil; {
		next := w.next
		if !w.abandoned && w.late(retryAt) {
			ln.family.finish(w, w.deadlineError(res))
		}
		w = next
	}
}

// late says whether a wait until then is one that its call doesn't want.
func (w *waiter) late(then time.Time) bool {
	return w.failFast && !w.deadline.IsZero() && w.deadline.Before(then)
}

func (w *waiter) deadlineError(res *bucket.Result) error {
	r, e := w.reservation, &DeadlineError{Deadline: w.deadline}
	e.fill(r.model, r.family, r.amounts.plan, res)
	return e
}
