package bucket_test

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/tokenthrottle/throttle/bucket"
)

// fleet is a simulation in virtual time: processes share one key through a store that is one round trip away. Each
// process has a queue of callers, of which only the head has a place in the line; those behind it ride along in the same
// request. A call that was granted ends after a latency, and what it didn't use is given back.
type fleet struct {
	*rand.Rand
	now    bucket.Micros
	skew   bucket.Micros // of the store's clock
	events events

	state     bucket.State
	limits    *bucket.Limits
	processes []*process
	polls     int
	closing   bool                                                              // nobody new comes
	checked   func(now bucket.Micros, ops []bucket.Op, results []bucket.Result) // after each request, if set
}

type event struct {
	at    bucket.Micros
	order int
	run   func()
}

type events struct {
	queue []event
	made  int
}

func (e *events) Len() int { return len(e.queue) }
func (e *events) Less(i, j int) bool {
	a, b := &e.queue[i], &e.queue[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}
func (e *events) Swap(i, j int) { e.queue[i], e.queue[j] = e.queue[j], e.queue[i] }
func (e *events) Push(x any)    { e.queue = append(e.queue, x.(event)) }
func (e *events) Pop() any {
	last := e.queue[len(e.queue)-1]
	e.queue = e.queue[:len(e.queue)-1]
	return last
}

const roundTrip = ms // to the store and back

func newFleet(seed uint64, limits *bucket.Limits) *fleet {
	return &fleet{Rand: rand.New(rand.NewPCG(seed, 0)), limits: limits, now: epoch}
}

func (f *fleet) at(t bucket.Micros, run func()) {
	f.events.made++
	heap.Push(&f.events, event{t, f.events.made, run})
}

// run lets a span pass.
func (f *fleet) run(span bucket.Micros) {
	end := f.now + span
	for f.events.Len() > 0 && f.events.queue[0].at <= end {
		e := heap.Pop(&f.events).(event)
		f.now = e.at
		e.run()
	}
	f.now = end
}

// apply is the store, with a clock that may be off.
func (f *fleet) apply(ops ...bucket.Op) []bucket.Result {
	results := make([]bucket.Result, len(ops))
	f.state.Apply(f.now+f.skew, &bucket.Request{Limits: f.limits, Ops: ops}, results)
	if f.checked != nil {
		f.checked(f.now+f.skew, ops, results)
	}
	return results
}

// between draws evenly.
func (f *fleet) between(least, most float64) float64 { return least + (most-least)*f.Float64() }

// process is a program of the fleet, or what one of its flows does in it.
type process struct {
	*fleet
	name     string
	flow     string
	weight   float64
	priority int32
	together int // callers in one request, at most; 16 by default
	poll     bucket.Micros
	grace    bucket.Micros
	cost     func() []float64                   // what a caller reserves
	uses     func(reserved []float64) []float64 // what its call turns out to use
	latency  func() bucket.Micros               // how long the call takes
	gap      func() bucket.Micros               // until the next caller comes; nil: one always waits

	queue  []caller
	asking bool // a request is under way
	timer  int  // number of the poll that counts: those scheduled before are void
	dead   bool

	grants   int
	consumed []float64
	waits    []bucket.Micros
}

type caller struct {
	since bucket.Micros // 0: of those who always wait, one that was never the head
	cost  []float64
}

// add lets a process join the fleet.
func (f *fleet) add(p process) *process {
	q := &p
	q.fleet, q.name = f, strconv.Itoa(len(f.processes))
	q.consumed = make([]float64, len(f.limits.Resources()))
	if q.poll == 0 {
		q.poll = second
	}
	if q.together == 0 {
		q.together = 16
	}
	if q.grace == 0 {
		q.grace = 2 * second
	}
	f.processes = append(f.processes, q)
	if q.gap == nil {
		f.at(f.now+bucket.Micros(f.IntN(int(ms))), q.ask)
	} else {
		f.at(f.now+q.gap(), q.arrive)
	}
	return q
}

func (p *process) arrive() {
	if p.dead || p.closing {
		return
	}
	p.queue = append(p.queue, caller{p.now, p.cost()})
	if len(p.queue) == 1 {
		p.ask()
	}
	p.at(p.now+p.gap(), p.arrive)
}

func (p *process) acquire(c caller) bucket.Op {
	return bucket.Op{Kind: bucket.Acquire, Cost: c.cost, Place: p.name, Flow: p.flow, Weight: p.weight, Priority: p.priority, Poll: p.poll, Grace: p.grace}
}

// ask asks for the head of the queue and those behind it.
func (p *process) ask() {
	for p.gap == nil && !p.closing && len(p.queue) < p.together {
		p.queue = append(p.queue, caller{0, p.cost()})
	}
	if p.dead || p.asking || len(p.queue) == 0 {
		return
	}
	if p.queue[0].since == 0 {
		p.queue[0].since = p.now
	}
	ops := make([]bucket.Op, min(len(p.queue), p.together))
	for i := range ops {
		ops[i] = p.acquire(p.queue[i])
		ops[i].After = i > 0
	}
	p.asking = true
	p.at(p.now+roundTrip/2, func() {
		p.polls++
		results := p.fleet.apply(ops...)
		p.at(p.now+roundTrip/2, func() { p.answered(results) })
	})
}

func (p *process) answered(results []bucket.Result) {
	p.asking = false
	for _, r := range results {
		switch {
		case p.dead:
			return
		case r.Status == bucket.Granted:
			p.granted()
		case r.Status == bucket.Refused:
			p.timer++
			timer := p.timer
			p.at(p.now+min(r.RetryAfter, p.poll), func() {
				if timer == p.timer {
					p.ask()
				}
			})
			return
		case r.Status == bucket.TooLarge:
			p.queue = p.queue[1:]
		}
	}
	p.ask()
}

func (p *process) granted() {
	c := p.queue[0]
	p.queue = p.queue[1:]
	p.grants++
	if c.since > 0 {
		p.waits = append(p.waits, p.now-c.since)
	}
	used := p.uses(c.cost)
	back := make([]float64, len(used))
	for i := range used {
		back[i] = c.cost[i] - used[i]
		p.consumed[i] += used[i]
	}
	p.at(p.now+p.latency(), func() {
		if !p.dead {
			p.fleet.apply(bucket.Op{Kind: bucket.Adjust, Cost: back, Flow: p.flow, Weight: p.weight})
		}
	})
}

// die takes the process away in the middle of whatever it does.
func (p *process) die() { p.dead = true }

// cancel lets the head of the queue give up: the place stays with who is behind it, or is left.
func (p *process) cancel() {
	if p.dead || p.asking || len(p.queue) == 0 {
		return
	}
	p.queue = p.queue[1:]
	p.timer++
	if len(p.queue) == 0 && p.gap != nil {
		p.fleet.apply(bucket.Op{Kind: bucket.Leave, Place: p.name})
		return
	}
	p.ask()
}

// quantile of waits; -1 of none.
func quantile(q float64, waits []bucket.Micros) bucket.Micros {
	if len(waits) == 0 {
		return -1
	}
	sorted := slices.Sorted(slices.Values(waits))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
