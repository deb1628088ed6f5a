package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// store is a store that several instances of a driver can share, over a connection that can break.
type store struct {
	mu       sync.Mutex
	states   map[string]*bucket.State
	set      atomic.Int64 // the clock, once it was set
	watchers []*watcher
	numbers  int
}

// subject is a driver that keeps the whole contract but for its flaw.
type subject struct {
	store  *store
	number int // of the instance, from 0
	flaw   flaw
	namer  *driver.Namer

	under  sync.RWMutex // held for reading while an Apply is under way
	closed bool

	linkMu sync.Mutex
	link   fault
}

// flaw is what is broken, by what it takes the place of; nil fields leave the subject whole.
type flaw struct {
	key     func(string) string                                               // what a key is stored as
	clock   func(d *subject, now bucket.Micros) bucket.Micros                 // what time it is
	expired func(s *bucket.State, now bucket.Micros) bool                     // whether a key is dropped
	apply   func(d *subject, now bucket.Micros, s *bucket.State, w *transfer) // how a request is applied to a state
	outer   func(d *subject, next applyFunc) applyFunc                        // all of Apply
	close   func(d *subject) error
	reopen  func(d *subject)
	pin     func(d *subject, key string) driver.Pinned
	keys    func(d *subject, ctx context.Context) iter.Seq2[string, error]
	notify  func(d *subject, ready func(key, place string)) (stop func())
	racy    bool // the lock is given up between reading and writing
	unnamed bool // a batch whose answer was lost is sent again without a name
	gone    bool // a batch whose answer was lost counts as one that never was
	patient bool // a connection that hangs is waited for, whatever ctx says
}

type applyFunc func(ctx context.Context, batch []driver.Request) ([]driver.Response, error)

// transfer is one request and its answer, on their way.
type transfer struct {
	driver.Request
	name  string // empty for a request that can't be lost
	retry bool
	since bucket.Micros // what time it was before it was first sent
	res   *driver.Response
}

// fault is how the connection fails.
type fault int

const (
	whole fault = iota
	losesAnswers
	losesRequests
	hangs
)

func newSubject(f flaw) *subject {
	return &subject{store: &store{states: map[string]*bucket.State{}}, flaw: f, namer: driver.NewNamer()}
}

func (d *subject) another() *subject {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.numbers++
	return &subject{store: d.store, number: d.store.numbers, flaw: d.flaw, namer: driver.NewNamer()}
}

func (d *subject) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if d.flaw.outer != nil {
		return d.flaw.outer(d, d.send)(ctx, batch)
	}
	return d.send(ctx, batch)
}

var errLost = errors.New("connection lost")

// send gets a batch over the connection, exactly once.
func (d *subject) send(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := driver.Check(batch); err != nil {
		return nil, err
	}
	d.under.RLock()
	defer d.under.RUnlock()
	if d.closed {
		return nil, driver.ErrClosed
	}
	name := d.namer.Take()
	defer name.Done()
	sent := false
	d.store.mu.Lock()
	since := d.store.now(d) - 1
	d.store.mu.Unlock()
	for attempt := range 4 {
		switch d.broken(attempt) {
		case losesRequests:
			continue
		case hangs:
			if err := d.hang(ctx); err != nil {
				if sent {
					err = fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
				}
				return nil, err
			}
		case losesAnswers:
			d.serve(batch, name.String(), sent, since)
			sent = true
			if d.flaw.gone {
				return nil, &driver.StoreError{Driver: "subject", Doing: "apply", Err: errLost}
			}
			continue
		}
		return d.serve(batch, name.String(), sent, since), nil
	}
	err := error(&driver.StoreError{Driver: "subject", Doing: "apply", Err: errLost})
	if sent {
		err = fmt.Errorf("%w: %w", driver.ErrUnknownOutcome, err)
	}
	return nil, err
}

// broken says what the connection does to an attempt. Most answers that are lost arrive at the second attempt.
func (d *subject) broken(attempt int) fault {
	d.linkMu.Lock()
	defer d.linkMu.Unlock()
	if d.link == losesAnswers && attempt == 2 {
		return whole
	}
	return d.link
}

func (d *subject) hang(ctx context.Context) error {
	for d.broken(0) == hangs {
		if err := ctx.Err(); err != nil && !d.flaw.patient {
			return err
		}
		runtime.Gosched()
	}
	return nil
}

func (d *subject) serve(batch []driver.Request, name string, retry bool, since bucket.Micros) []driver.Response {
	if d.flaw.unnamed {
		name = ""
	}
	responses := make([]driver.Response, len(batch))
	for i := range batch {
		responses[i].Results = make([]bucket.Result, len(batch[i].Ops))
		d.one(&transfer{Request: batch[i], name: name, retry: retry, since: since, res: &responses[i]}, i)
	}
	return responses
}

// one serves one request, the i-th of its batch: a state remembers a name, so each has its own.
func (d *subject) one(w *transfer, i int) {
	s := d.store
	s.mu.Lock()
	now := s.now(d)
	key := w.Key
	if d.flaw.key != nil {
		key = d.flaw.key(key)
	}
	state, held := s.states[key]
	if held && d.expired(state, now) {
		delete(s.states, key)
		state, held = nil, false
	}
	if !held {
		state = &bucket.State{}
	}
	w.res.Now, w.res.Absent = now, !held
	if d.flaw.racy {
		state = state.Clone()
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	if d.flaw.apply != nil {
		d.flaw.apply(d, now, state, w)
	} else {
		w.apply(now, state, i)
	}
	w.res.AbsentAt, w.res.Waiting = state.AbsentAt(), len(state.Line)
	if held || !state.Absent(now) {
		s.states[key] = state
	}
	ready := w.ready(now, state)
	watchers := slices.Clone(s.watchers)
	s.mu.Unlock()
	for _, to := range watchers {
		to.tell(w.Key, ready)
	}
}

func (d *subject) expired(state *bucket.State, now bucket.Micros) bool {
	if d.flaw.expired != nil {
		state = state.Clone()
		state.Batches, state.Forgotten = nil, 0 // a flaw that they hide is one all the same
		return d.flaw.expired(state, now)
	}
	return state.Absent(now)
}

// apply is what the arithmetic makes of a request, whose name tells a repeat.
func (w *transfer) apply(now bucket.Micros, s *bucket.State, i int) {
	r := bucket.Request{Limits: w.Limits, Ops: w.Ops, Retry: w.retry, Since: w.since}
	if client, number, named := strings.Cut(w.name, "/"); named { // a state remembers one name a client
		r.Batch = fmt.Sprint(client, "-", i, "/", number)
	}
	s.Apply(now, &r, w.res.Results)
}

func (w *transfer) ready(now bucket.Micros, s *bucket.State) (places []string) {
	frees := false
	for i := range w.Ops {
		frees = frees || driver.Frees(&w.Ops[i], &w.res.Results[i])
	}
	if frees {
		s.Ready(now, func(place string) bool { places = append(places, place); return true })
	}
	return places
}

func (s *store) now(d *subject) bucket.Micros {
	now := bucket.Micros(s.set.Load())
	if now == 0 {
		now = bucket.At(time.Now())
	}
	if d.flaw.clock != nil {
		now = d.flaw.clock(d, now)
	}
	return now
}

func (d *subject) Close() error {
	if d.flaw.close != nil {
		return d.flaw.close(d)
	}
	d.under.Lock()
	defer d.under.Unlock()
	d.closed = true
	return nil
}

// Pin implements [driver.Local].
func (d *subject) Pin(key string) driver.Pinned {
	if d.flaw.pin != nil {
		return d.flaw.pin(d, key)
	}
	return &pinned{d: d, key: key}
}

// Now implements [driver.Local].
func (d *subject) Now() bucket.Micros { return d.store.now(d) }

// pinned holds the store's lock between Lock and Unlock.
type pinned struct {
	d     *subject
	key   string
	state *bucket.State
}

func (p *pinned) Lock() (*bucket.State, error) {
	p.d.under.RLock()
	if p.d.closed {
		p.d.under.RUnlock()
		return nil, driver.ErrClosed
	}
	s := p.d.store
	s.mu.Lock()
	p.state = s.states[p.key]
	if p.state == nil || p.state.Absent(s.now(p.d)) {
		p.state = &bucket.State{}
		s.states[p.key] = p.state
	}
	return p.state, nil
}

func (p *pinned) Unlock(freed bool) {
	s := p.d.store
	now := s.now(p.d)
	var ready []string
	if freed {
		p.state.Ready(now, func(place string) bool { ready = append(ready, place); return true })
	}
	if p.state.Absent(now) {
		delete(s.states, p.key)
	}
	watchers := slices.Clone(s.watchers)
	s.mu.Unlock()
	p.d.under.RUnlock()
	for _, to := range watchers {
		to.tell(p.key, ready)
	}
}

// Keys implements [driver.Lister].
func (d *subject) Keys(ctx context.Context) iter.Seq2[string, error] {
	if d.flaw.keys != nil {
		return d.flaw.keys(d, ctx)
	}
	return func(yield func(string, error) bool) {
		for _, key := range d.store.keys() {
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(key, nil) {
				return
			}
		}
	}
}

func (s *store) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.states))
}

// watcher is one subscription.
type watcher struct {
	mu    sync.Mutex
	over  bool
	ready func(key, place string)
}

func (w *watcher) tell(key string, places []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, place := range places {
		if !w.over {
			w.ready(key, place)
		}
	}
}

// Notify implements [driver.Notifier].
func (d *subject) Notify(_ context.Context, ready func(key, place string)) (stop func(), err error) {
	if d.flaw.notify != nil {
		return d.flaw.notify(d, ready), nil
	}
	w := d.watch(ready)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
	}, nil
}

func (d *subject) watch(ready func(key, place string)) *watcher {
	w := &watcher{ready: ready}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.watchers = append(d.store.watchers, w)
	return w
}

// able are all options there are, for a subject.
func able() *Options {
	return &Options{
		Another: func(_ testing.TB, d driver.Driver) driver.Driver { return d.(*subject).another() },
		Reopen: func(_ testing.TB, d driver.Driver) driver.Driver {
			again := d.(*subject).another()
			if again.flaw.reopen != nil {
				again.flaw.reopen(again)
			}
			return again
		},
		SetClock: func(_ testing.TB, d driver.Driver, now bucket.Micros) {
			s := d.(*subject).store
			s.mu.Lock()
			defer s.mu.Unlock()
			s.set.Store(int64(now))
		},
		Faults: []Fault{
			{"the answer is lost", breaks(losesAnswers)},
			{"the request is lost", breaks(losesRequests)},
			{"nothing answers", breaks(hangs)},
		},
		Complete: true,
	}
}

// breaks sets how the connection of a subject fails.
func breaks(f fault) func(testing.TB, driver.Driver) func() {
	return func(_ testing.TB, d driver.Driver) func() {
		s := d.(*subject)
		set := func(f fault) {
			s.linkMu.Lock()
			defer s.linkMu.Unlock()
			s.link = f
		}
		set(f)
		return func() { set(whole) }
	}
}

func TestSubject(t *testing.T) {
	Run(t, func(testing.TB) driver.Driver { return newSubject(flaw{}) }, able())
}
