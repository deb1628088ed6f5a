package conformance

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// pinned does a request on a pinned key, as [driver.ApplyLocal] does it, and answers as Apply would.
func (p *probe) pinned(d driver.Local, k driver.Pinned, r driver.Request) ([]driver.Response, error) {
	res := driver.Response{Results: make([]bucket.Result, len(r.Ops))}
	var err error
	if !p.within("Lock to Unlock", func() {
		var s *bucket.State
		if s, err = k.Lock(); err != nil {
			return
		}
		res.Now = d.Now()
		res.Absent = diffState(s, &bucket.State{}) == ""
		s.Apply(res.Now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, res.Results)
		res.AbsentAt, res.Waiting = s.AbsentAt(), len(s.Line)
		k.Unlock(driver.FreesAny(r.Ops, res.Results))
	}) {
		panic(stop{})
	}
	return []driver.Response{res}, err
}

// localIsApply mixes the ways to a key: by Apply, and by having been pinned, more than once too.
func localIsApply(p *probe) {
	d := p.asLocal(p.open())
	m := newModel()
	keys := []string{"", "a", "b"}
	var pins []driver.Pinned
	for _, key := range append(keys, keys...) {
		pins = append(pins, d.Pin(key))
	}
	g := newGenerator(p.rand, keys...)
	for range 300 {
		r := g.request()
		if p.rand.IntN(3) == 0 {
			p.following(m, d, r)
			continue
		}
		way := p.rand.IntN(len(pins))
		r.Key = keys[way%len(keys)]
		responses, err := p.pinned(d, pins[way], r)
		if err != nil {
			p.fatalf("Lock: %v", err)
		}
		for _, w := range m.follow([]driver.Request{r}, responses) {
			p.fatalf("pinned: %s", w)
		}
	}
}

// localExcludes has many take one unit each of a bucket that holds fewer, by pins and by Apply.
func localExcludes(p *probe) {
	d := p.asLocal(p.open())
	const callers, each, units = 8, 100, 500
	l := limits(still("tokens", units))
	var mu sync.Mutex
	granted := 0
	if !p.within("many who use one key", func() {
		var work sync.WaitGroup
		for caller := range callers {
			work.Go(func() {
				p.protect(func() {
					pin := d.Pin("k")
					for range each {
						op, res := acquire(1), bucket.Result{}
						var err error
						if caller%4 == 0 {
							res = p.one(d, "k", l, op).Results[0]
						} else {
							err = driver.Do(d, pin, l, &op, &res)
						}
						mu.Lock()
						if res.Status == bucket.Granted {
							granted++
						}
						mu.Unlock()
						if err != nil {
							p.errorf("Lock: %v", err)
							return
						}
					}
				})
			})
		}
		work.Wait()
	}) {
		panic(stop{})
	}
	if granted != units {
		p.errorf("%d at once granted %d units of %d", callers, granted, units)
	}
}

// pinnedBeginsAnew pins a key whose state is soon forgotten, and has others begin it anew.
func pinnedBeginsAnew(p *probe) {
	d := p.asLocal(p.open())
	brief := limits(bucket.Quota{Resource: "tokens", Limit: 100, Per: 1})
	l := limits(still("tokens", 100))
	pin := d.Pin("k")
	take := func(l *bucket.Limits) bucket.Status {
		responses, err := p.pinned(d, pin, driver.Request{Limits: l, Ops: []bucket.Op{acquire(60)}})
		if err != nil {
			p.fatalf("Lock: %v", err)
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

// localTells gives back by a pin what somebody waits for. A call may be missed, so there are many occasions.
func localTells(p *probe) {
	d := p.asLocal(p.open())
	l := limits(still("tokens", 100))
	calls := make(chan told, 1000)
	stopped := p.notify(p.asNotifier(d), func(key, place string) {
		select {
		case calls <- told{key, place}:
		default:
		}
	})
	defer stopped()
	pin := d.Pin("k")
	for deadline := time.Now().Add(p.opts.Patience); time.Now().Before(deadline); {
		p.one(d, "k", l, bucket.Op{Kind: bucket.Leave, Place: "place"}, adjust(1000), record(100), wait("place", 20))
		if _, err := p.pinned(d, pin, driver.Request{Limits: l, Ops: []bucket.Op{adjust(100)}}); err != nil {
			p.fatalf("Lock: %v", err)
		}
		again := time.NewTimer(p.opts.Patience / 10)
		for waiting := true; waiting; {
			select {
			case c := <-calls:
				if c == (told{"k", "place"}) {
					again.Stop()
					return
				}
			case <-again.C:
				waiting = false
			}
		}
	}
	p.errorf("a pinned key made room for a place in line again and again for %v, and ready was never called for it", p.opts.Patience)
}

func localCloses(p *probe) {
	d := p.asLocal(p.open())
	l := limits(still("tokens", 100))
	used, unused := d.Pin("used"), d.Pin("unused")
	if _, err := p.pinned(d, used, driver.Request{Limits: l, Ops: []bucket.Op{record(1)}}); err != nil {
		p.fatalf("Lock: %v", err)
	}
	p.close(d)
	for range 2 { // the second waits for ever if the first left something locked
		for _, pin := range []driver.Pinned{used, unused, d.Pin("late")} {
			if _, err := p.pinned(d, pin, driver.Request{Limits: l, Ops: []bucket.Op{record(1)}}); !errors.Is(err, driver.ErrClosed) {
				p.errorf("Lock after Close: error %v, want one that matches driver.ErrClosed", err)
			}
		}
	}
}
