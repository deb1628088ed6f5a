package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// optional has the clauses about the interfaces that a driver need not have.
func optional() []clause {
	return []clause{
		{name: "local/same", quote: "ApplyLocal is Apply for one request without a context.", test: localIsApply},
		{name: "local/errors", quote: "The only errors are ErrClosed and Check's.", test: localErrors},
		{name: "local/pinned", quote: "ApplyLocal is [Local.ApplyLocal] for this key, whatever the request's Key says.", test: pinnedIsApply},
		{name: "local/pinned-anew", quote: "whoever has it may just drop it, and the key's state may be forgotten, and begin anew, under it.", test: pinnedBeginsAnew},
		{name: "lister/all", quote: "Keys yields every key that was there throughout the call, each at least once, in no order.", test: listsAll},
		{name: "notifier/ready", quote: "Notify calls ready, on one goroutine at a time, with a key and each place ([bucket.State.Ready]) that a request in any process has made room for", test: func(p *probe) {
			d := p.open()
			p.notified(d, d)
		}},
		{name: "notifier/instances", quote: "Notify calls ready, on one goroutine at a time, with a key and each place ([bucket.State.Ready]) that a request in any process has made room for", needs: needsAnother, test: func(p *probe) {
			d := p.open()
			p.notified(d, p.another(d))
		}},
		{name: "notifier/stop", quote: "stop ends it and waits for a call under way.", test: notifierStops},
	}
}

// asLocal, asLister and asNotifier end a clause for a driver that isn't one.
func (p *probe) asLocal(d driver.Driver) driver.Local {
	local, ok := d.(driver.Local)
	if !ok {
		p.skip("the driver is no driver.Local")
	}
	return local
}

func (p *probe) asLister(d driver.Driver) driver.Lister {
	lister, ok := d.(driver.Lister)
	if !ok {
		p.skip("the driver is no driver.Lister")
	}
	return lister
}

func (p *probe) asNotifier(d driver.Driver) driver.Notifier {
	notifier, ok := d.(driver.Notifier)
	if !ok {
		p.skip("the driver is no driver.Notifier")
	}
	return notifier
}

func (p *probe) asPinner(d driver.Driver) driver.Pinner {
	pinner, ok := d.(driver.Pinner)
	if !ok {
		p.skip("the driver is no driver.Pinner")
	}
	return pinner
}

// applyLocal is ApplyLocal, of a driver or a key of it, in the form of Apply.
func (p *probe) applyLocal(d driver.Pinned, r driver.Request) ([]driver.Response, error) {
	res := driver.Response{Now: 99, Absent: p.rand.IntN(2) == 0, Waiting: 99, Results: make([]bucket.Result, len(r.Ops))}
	for i := range res.Results {
		res.Results[i] = bucket.Result{Status: bucket.Invalid, Quota: 99, RetryAfter: 99, Place: 99} // what an earlier use left
	}
	var err error
	if !p.within("ApplyLocal", func() { err = d.ApplyLocal(&r, &res) }) {
		panic(stop{})
	}
	return []driver.Response{res}, err
}

func localIsApply(p *probe) {
	d := p.asLocal(p.open())
	m := newModel()
	g := newGenerator(p.rand, "", "a", "b")
	for range 200 {
		m.noAbsentAt = false
		r := g.request()
		if p.rand.IntN(3) == 0 {
			p.following(m, d, r)
			continue
		}
		responses, err := p.applyLocal(d, r)
		if err != nil {
			p.fatalf("ApplyLocal: %v", err)
		}
		m.noAbsentAt = true
		for _, w := range m.follow([]driver.Request{r}, responses) {
			p.fatalf("%s", w)
		}
	}
}

// pinnedIsApply mixes the ways to a key: by Apply, by ApplyLocal, and by having been pinned, more than once too.
func pinnedIsApply(p *probe) {
	d := p.asPinner(p.open())
	m := newModel()
	keys := []string{"", "a", "b"}
	var pinned []driver.Pinned
	for _, key := range append(keys, keys...) {
		pinned = append(pinned, d.Pin(key))
	}
	g := newGenerator(p.rand, keys...)
	for range 200 {
		r := g.request()
		m.noAbsentAt = false
		if p.rand.IntN(3) == 0 {
			p.following(m, d, r)
			continue
		}
		way := p.rand.IntN(len(pinned))
		r.Key = "whatever"
		responses, err := p.applyLocal(pinned[way], r)
		if err != nil {
			p.fatalf("ApplyLocal of a pinned key: %v", err)
		}
		r.Key = keys[way%len(keys)]
		m.noAbsentAt = true
		for _, w := range m.follow([]driver.Request{r}, responses) {
			p.fatalf("pinned: %s", w)
		}
	}
	p.close(d)
	if _, err := p.applyLocal(pinned[0], g.request()); !errors.Is(err, driver.ErrClosed) {
		p.errorf("ApplyLocal of a pinned key after Close: error %v, want one that matches driver.ErrClosed", err)
	}
}

// pinnedBeginsAnew pins a key whose state is soon forgotten, and has others begin it anew.
func pinnedBeginsAnew(p *probe) {
	d := p.asPinner(p.open())
	brief := limits(bucket.Quota{Resource: "tokens", Limit: 100, Per: 1})
	l := limits(still("tokens", 100))
	pinned := d.Pin("k")
	take := func(l *bucket.Limits) bucket.Status {
		responses, err := p.applyLocal(pinned, driver.Request{Limits: l, Ops: []bucket.Op{acquire(60)}})
		if err != nil {
			p.fatalf("ApplyLocal of a pinned key: %v", err)
		}
		return responses[0].Results[0].Status
	}
	for round := range 3 {
		if got := take(brief); got != bucket.Granted {
			p.fatalf("an acquire that the bucket covers is %v", got)
		}
		for i := range 300 {
			p.one(d, fmt.Sprint("other-", round, "-", i), brief, record(1))
		}
		p.one(d, "k", l, record(70))
		if got := take(l); got != bucket.Refused {
			p.fatalf("70 of 100 were taken by Apply, and an acquire of 60 by the pinned key is %v: there are two states", got)
		}
		p.one(d, "k", l, adjust(70))
		if got := take(l); got != bucket.Granted {
			p.fatalf("all was given back, and an acquire of 60 by the pinned key is %v", got)
		}
		if level := p.level(d, "k", l, "tokens"); !near(level, 40) {
			p.fatalf("by Apply the level is %v, want 40: there are two states", level)
		}
		p.one(d, "k", l, adjust(100))
	}
}

func localErrors(p *probe) {
	d := p.asLocal(p.open())
	l := limits(still("tokens", 100))
	var tooLong *driver.KeyError
	if _, err := p.applyLocal(d, driver.Request{Key: strings.Repeat("x", driver.MaxKey+1), Limits: l, Ops: []bucket.Op{record(1)}}); !errors.As(err, &tooLong) {
		p.errorf("ApplyLocal with a key that is too long: error %v, want a *driver.KeyError", err)
	}
	p.close(d)
	if _, err := p.applyLocal(d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{record(1)}}); !errors.Is(err, driver.ErrClosed) {
		p.errorf("ApplyLocal after Close: error %v, want one that matches driver.ErrClosed", err)
	}
}

func listsAll(p *probe) {
	d := p.open()
	lister := p.asLister(d)
	l := limits(still("tokens", 1000))
	if got := p.list(lister, nil); len(got) != 0 {
		p.errorf("a store that nobody used lists %d keys", len(got))
	}
	var batch []driver.Request
	for _, key := range hostileKeys() {
		batch = append(batch, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{record(1)}})
	}
	p.apply(d, batch...)
	used := 0
	got := p.list(lister, func() {
		// Work goes on while somebody lists.
		if used++; used <= 3 {
			p.one(d, "late", l, record(1))
		}
	})
	for _, r := range batch {
		if !got[r.Key] {
			p.errorf("key %s is missing", show(r.Key))
		}
		delete(got, r.Key)
	}
	delete(got, "late")
	for key := range got {
		p.errorf("key %s was never used", show(key))
	}
	if !p.within("Keys, left after its first key,", func() {
		for range lister.Keys(context.Background()) {
			break
		}
	}) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var last error
	p.within("Keys with a ctx that has ended", func() {
		for _, err := range lister.Keys(ctx) {
			last = err
		}
	})
	if !errors.Is(last, context.Canceled) {
		p.errorf("Keys with a ctx that has ended ends with error %v, want one that matches %v", last, context.Canceled)
	}
}

// list collects all keys, and calls each between them.
func (p *probe) list(lister driver.Lister, each func()) map[string]bool {
	all := map[string]bool{}
	if !p.within("Keys", func() {
		for key, err := range lister.Keys(context.Background()) {
			if err != nil {
				p.errorf("Keys: %v", err)
				return
			}
			all[key] = true
			if each != nil {
				each()
			}
		}
	}) {
		panic(stop{})
	}
	return all
}

// told is one call of a notifier.
type told struct{ key, place string }

// notify subscribes to d.
func (p *probe) notify(d driver.Notifier, ready func(key, place string)) (stopped func()) {
	var err error
	if !p.within("Notify", func() { stopped, err = d.Notify(context.Background(), ready) }) {
		panic(stop{})
	}
	if err != nil {
		p.fatalf("Notify: %v", err)
	}
	return stopped
}

// notified waits in line by one instance and gives capacity back by another. A call may be missed, so there are many
// occasions; a driver that misses them all doesn't notify.
func (p *probe) notified(listener, giver driver.Driver) {
	notifier := p.asNotifier(listener)
	l := limits(still("tokens", 100))
	calls := make(chan told, 1000)
	var busy atomic.Bool
	stopped := p.notify(notifier, func(key, place string) {
		if !busy.CompareAndSwap(false, true) {
			p.errorf("ready was called while another call of it was under way")
		}
		select {
		case calls <- told{key, place}:
		default:
		}
		busy.Store(false)
	})
	defer stopped()
	for key, free := range map[string]bucket.Op{
		"credit": adjust(100),
		"leave":  {Kind: bucket.Leave, Place: "ahead"},
		"limit":  {Kind: bucket.SetLimit, Limit: 1000, Burst: 1000},
		"block":  {Kind: bucket.Block},
	} {
		p.hears(listener, giver, calls, key, l, free)
	}
}

// hears repeats one occasion until its call came.
func (p *probe) hears(listener, giver driver.Driver, calls <-chan told, key string, l *bucket.Limits, free bucket.Op) {
	deadline := time.Now().Add(p.opts.Patience)
	for time.Now().Before(deadline) {
		switch free.Kind {
		case bucket.Leave: // "place" waits for what "ahead" protects
			p.one(listener, key, l, bucket.Op{Kind: bucket.Leave, Place: "place"}, adjust(1000), record(50), wait("ahead", 90), wait("place", 20))
		case bucket.Block:
			p.one(listener, key, l, bucket.Op{Kind: bucket.Leave, Place: "place"}, adjust(1000), bucket.Op{Kind: bucket.Block, Span: bucket.Hour}, wait("place", 20))
		case bucket.SetLimit: // a limit alone raises no level, so a credit comes with it
			p.one(listener, key, l, bucket.Op{Kind: bucket.Leave, Place: "place"}, bucket.Op{Kind: bucket.ClearLimit}, adjust(1000), record(100), wait("place", 20))
		default:
			p.one(listener, key, l, bucket.Op{Kind: bucket.Leave, Place: "place"}, adjust(1000), record(100), wait("place", 20))
		}
		ops := []bucket.Op{free}
		if free.Kind == bucket.SetLimit {
			ops = append(ops, adjust(100))
		}
		p.one(giver, key, l, ops...)
		again := time.NewTimer(p.opts.Patience / 10)
		for waiting := true; waiting; {
			select {
			case c := <-calls:
				if c == (told{key, "place"}) {
					again.Stop()
					return
				}
			case <-again.C:
				waiting = false
			}
		}
	}
	p.errorf("%v made room for a place in line again and again for %v, and ready was never called for it", free.Kind, p.opts.Patience)
}

func notifierStops(p *probe) {
	d := p.open()
	notifier := p.asNotifier(d)
	l := limits(still("tokens", 100))
	var mu sync.Mutex
	var over bool
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	stopped := p.notify(notifier, func(string, string) {
		select {
		case entered <- struct{}{}:
			<-leave
		default:
		}
		mu.Lock()
		defer mu.Unlock()
		if over {
			p.errorf("ready was called after stop had returned")
		}
	})
	free := func() {
		p.one(d, "k", l, bucket.Op{Kind: bucket.Leave, Place: "place"}, record(100), wait("place", 20), adjust(100))
	}
	freed := make(chan struct{})
	go func() { // a driver may call ready on the goroutine of the one who gives
		defer close(freed)
		p.protect(free)
	}()
	select {
	case <-entered:
	case <-time.After(p.opts.Patience):
		close(leave)
		<-freed
		stopped()
		p.fatalf("a credit made room for a place in line, and ready was not called for it within %v", p.opts.Patience)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		stopped()
		mu.Lock()
		over = true
		mu.Unlock()
	}()
	// stop must wait now. That it doesn't can't be told from a stop that is slow to begin, so this gives it a while.
	select {
	case <-ended:
		p.errorf("stop returned while a call of ready was under way")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-freed
	select {
	case <-ended:
	case <-time.After(p.opts.Patience):
		p.fatalf("stop did not return within %v", p.opts.Patience)
	}
	for range 5 {
		free()
	}
	p.one(d, "k", l, peekOp)
}
