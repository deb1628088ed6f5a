package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// optional has the clauses about the interfaces that a driver need not have.
func optional() []clause {
	return []clause{
		{name: "local/same", quote: "Pinned is one key of a [Local] driver, however often it was pinned.", test: localIsApply},
		{name: "local/exclusive", quote: "Lock waits until nobody else uses the key, and lends its state until Unlock", test: localExcludes},
		{name: "local/anew", quote: "whoever has it may just drop it, and the key's state may be forgotten, and begin anew, under it.", test: pinnedBeginsAnew},
		{name: "local/tells", quote: "freed says that an operation [Frees] something, which a [Notifier] tells of.", test: localTells},
		{name: "local/closed", quote: "The only error is ErrClosed; nothing is locked then.", test: localCloses},
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
		"never":  {Kind: bucket.SetLimit, Limit: 10, Burst: 10}, // who waits for more need wait no longer
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
		if free.Kind == bucket.SetLimit && free.Limit > 100 {
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
