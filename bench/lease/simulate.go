package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// Store is the server that keeps the key.
type Store struct {
	Each     time.Duration // what one operation takes it; it does one at a time
	Distance time.Duration // there and back
}

// Plan is what is simulated.
type Plan struct {
	Processes   int
	Rate, Burst float64       // units a second, and units, of the whole key
	Level       float64       // what is in the bucket at first
	Load        float64       // what is asked for, as a part of Rate; a call is one unit
	Lease       time.Duration // how long capacity is leased for; 0: each call asks
	Reserve     float64       // the most that may be leased at once, and kept back from the burst; 0: no such bound
	Wave        time.Duration // calls come for so long, then none for as long, and so on; 0: evenly
	Callers     float64       // the part of the processes that make all calls; 0: all do
	Shards      int           // the key is divided over so many stores; each process draws one
	Moves       bool          // a process that is refused draws a shard anew
	Store       Store
	For         time.Duration
	Seed        uint64
}

// Report is what came of it.
type Report struct {
	Operations   float64 // a second, all stores together
	Busy         float64 // the part of the time that the busiest store works
	Ideal        float64 // calls served, of those that one bucket without delays would have served
	Median, Late time.Duration
	Beyond       float64 // units used beyond burst + rate·Δt in the worst interval
	Leased       float64 // the most that was leased and not used at one instant
}

// event is something that happens to a process.
type event struct {
	at      bucket.Micros
	process int
	kind    kind
	units   float64
}

type kind uint8

const (
	arrives  kind = iota // a call
	asked                // the process's question reaches the store
	answered             // the answer reaches the process
	expires              // the lease ends
)

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at < e[j].at }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

type process struct {
	shard   int
	queue   []bucket.Micros // when those came who wait
	asking  bool
	left    float64       // of the lease
	until   bucket.Micros // when the lease ends
	unused  float64       // of an ended lease: goes back with the next question
	last    bucket.Micros // when the last call came
	between float64       // the time between two calls, smoothed; 0 as long as it isn't known
}

// foresees is how many calls a process expects in a lease's time, beside those that wait.
func (p *process) foresees(lease time.Duration) float64 {
	if p.between == 0 {
		return 0
	}
	return math.Floor(float64(bucket.MicrosOf(lease)) / p.between)
}

// came notes a call.
func (p *process) came(now bucket.Micros) {
	if gap := float64(now - p.last); p.last > 0 && p.between == 0 {
		p.between = gap
	} else if p.last > 0 {
		p.between += (gap - p.between) / 8
	}
	p.last = now
}

type shard struct {
	state  bucket.State
	limits *bucket.Limits
	free   bucket.Micros // when the store has done what it was given
	busy   bucket.Micros
}

// simulation is a run under way.
type simulation struct {
	Plan
	rnd       *rand.Rand
	events    events
	processes []process
	shards    []shard
	report    Report

	waits  []time.Duration
	served float64
	asked  float64
	// used is a bucket that is debited when capacity is used: how far below zero it gets is what went beyond the bound.
	used   float64
	usedAt bucket.Micros
	leased float64
}

// Run simulates.
func (p Plan) Run() Report {
	s := &simulation{Plan: p, rnd: rand.New(rand.NewPCG(p.Seed, 0)), processes: make([]process, p.Processes), used: p.Level}
	s.shards = make([]shard, p.Shards)
	for i := range s.shards {
		part := float64(p.Shards)
		burst := p.Burst - p.Reserve
		limits, err := bucket.NewLimits(bucket.Quota{Resource: "calls", Limit: p.Rate / part, Per: bucket.Second, Burst: burst / part})
		if err != nil {
			panic(err) // the plan is ours
		}
		s.shards[i].limits = limits
		taken := bucket.Op{Kind: bucket.Record, Cost: []float64{max(0, burst-p.Level) / part}}
		s.shards[i].state.Apply(0, &bucket.Request{Limits: limits, Ops: []bucket.Op{taken}}, make([]bucket.Result, 1))
	}
	for i := range s.processes {
		s.processes[i].shard = s.rnd.IntN(p.Shards)
		if i < s.callers() {
			s.push(event{at: s.next(0), process: i, kind: arrives})
		}
	}
	end := bucket.MicrosOf(p.For)
	for len(s.events) > 0 && s.events[0].at < end {
		s.handle(heap.Pop(&s.events).(event))
	}
	return s.finish()
}

func (s *simulation) push(e event) { heap.Push(&s.events, e) }

// callers is how many processes make calls.
func (s *simulation) callers() int {
	if s.Callers == 0 {
		return s.Processes
	}
	return int(s.Callers * float64(s.Processes))
}

// next is when a process makes its next call: at random, but not between waves.
func (s *simulation) next(now bucket.Micros) bucket.Micros {
	mean := float64(bucket.Second) * float64(s.callers()) / (s.Rate * s.Load)
	if s.Wave > 0 {
		mean /= 2
	}
	at := now + bucket.Micros(math.Ceil(s.rnd.ExpFloat64()*mean))
	if wave := bucket.MicrosOf(s.Wave); wave > 0 && at/wave%2 == 1 {
		at += wave
	}
	return at
}

func (s *simulation) handle(e event) {
	p := &s.processes[e.process]
	switch e.kind {
	case arrives:
		s.asked++
		p.came(e.at)
		p.queue = append(p.queue, e.at)
		s.serve(p, e.at)
		s.ask(e.process, e.at)
		s.push(event{at: s.next(e.at), process: e.process, kind: arrives})
	case asked:
		s.decide(e)
	case answered:
		p.asking = false
		if e.units > 0 {
			p.left, p.until = p.left+e.units, e.at+bucket.MicrosOf(s.Lease)
			s.push(event{at: p.until, process: e.process, kind: expires})
		}
		s.serve(p, e.at)
		s.ask(e.process, e.at)
	case expires:
		if e.at < p.until {
			return // was renewed
		}
		p.unused, p.left = p.unused+p.left, 0
		s.ask(e.process, e.at)
	}
}

// serve takes from the lease.
func (s *simulation) serve(p *process, now bucket.Micros) {
	n := 0
	for n < len(p.queue) && p.left >= 1 {
		p.left--
		s.use(now)
		s.waits = append(s.waits, (now - p.queue[n]).Duration())
		n++
	}
	p.queue = p.queue[n:]
}

// use debits the bucket of what is used, not leased.
func (s *simulation) use(now bucket.Micros) {
	s.used = min(s.Burst, s.used+s.Rate*float64(now-s.usedAt)/float64(bucket.Second)) - 1
	s.usedAt = now
	s.report.Beyond = max(s.report.Beyond, -s.used)
	s.served++
	s.leased--
}

// ask sends a question if there is something to ask for or to give back, and none is on its way.
func (s *simulation) ask(process int, now bucket.Micros) {
	p := &s.processes[process]
	if p.asking || len(p.queue) == 0 && p.unused == 0 {
		return
	}
	p.asking = true
	s.push(event{at: now + bucket.MicrosOf(s.Store.Distance/2), process: process, kind: asked})
}

// decide is the store's work: give back what is unused, and grant what is asked for, or what there is of it.
func (s *simulation) decide(e event) {
	p := &s.processes[e.process]
	shard := &s.shards[p.shard]
	each := bucket.MicrosOf(s.Store.Each)
	start := max(e.at, shard.free)
	shard.free = start + each
	if shard.free <= bucket.MicrosOf(s.For) { // else it is still to be done at the end
		shard.busy += each
		s.report.Operations++
	}
	results := make([]bucket.Result, 1)
	apply := func(op bucket.Op) *bucket.Result {
		shard.state.Apply(start, &bucket.Request{Limits: shard.limits, Ops: []bucket.Op{op}}, results)
		return &results[0]
	}
	if p.unused > 0 {
		apply(bucket.Op{Kind: bucket.Adjust, Cost: []float64{p.unused}})
		s.leased -= p.unused
		p.unused = 0
	}
	back := start + each + bucket.MicrosOf(s.Store.Distance/2)
	want := float64(len(p.queue))
	if want == 0 {
		s.push(event{at: back, process: e.process, kind: answered})
		return
	}
	foreseen := p.foresees(s.Lease)
	if s.Reserve > 0 {
		foreseen = min(foreseen, max(0, math.Floor(s.Reserve-s.leased-want)))
	}
	want += foreseen
	res := apply(bucket.Op{Kind: bucket.Acquire, Cost: []float64{want}})
	if res.Status != bucket.Granted {
		if level := math.Floor(apply(bucket.Op{Kind: bucket.Peek}).State.Buckets[0].Level); level >= 1 && level < want {
			want = level
			res = apply(bucket.Op{Kind: bucket.Acquire, Cost: []float64{want}})
		} else {
			res = apply(bucket.Op{Kind: bucket.Acquire, Cost: []float64{1}})
			want = 1
		}
	}
	if res.Status == bucket.Granted {
		s.leased += want
		s.report.Leased = max(s.report.Leased, s.leased)
		s.push(event{at: back, process: e.process, kind: answered, units: want})
		return
	}
	if s.Moves {
		p.shard = s.rnd.IntN(s.Shards)
	}
	// Nothing there. It comes again later, at random, as many as the store's refill can serve meanwhile.
	wait := bucket.Micros(float64(bucket.Second) * float64(s.Processes) / s.Rate * (0.5 + s.rnd.Float64()))
	s.push(event{at: back + max(res.RetryAfter, wait), process: e.process, kind: asked})
}

func (s *simulation) finish() Report {
	r, seconds := s.report, s.For.Seconds()
	r.Operations /= seconds
	for i := range s.shards {
		r.Busy = max(r.Busy, float64(s.shards[i].busy)/float64(bucket.MicrosOf(s.For)))
	}
	r.Ideal = s.served / min(s.asked, s.Level+s.Rate*seconds)
	if len(s.waits) > 0 {
		slices.Sort(s.waits)
		r.Median, r.Late = s.waits[len(s.waits)/2], s.waits[len(s.waits)*99/100]
	}
	return r
}
