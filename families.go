package throttle

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle/driver"
)

// families finds families by name. A look-up in published takes no lock, since every call makes one: that map is never
// changed again. What came since is in all, and is published once it was looked for as often as publishing costs.
type families struct {
	published atomic.Pointer[map[string]*family]

	mu        sync.Mutex
	all       map[string]*family // published itself, while nothing has come since
	shared    bool               // all is published, and must be cloned before it is changed
	misses    int
	sweepNext time.Time
}

// find returns the family if it is published. One that was just dropped may still be.
func (fs *families) find(name string) *family {
	if m := fs.published.Load(); m != nil {
		return (*m)[name]
	}
	return nil
}

// get returns the family, or nil.
func (fs *families) get(name string) *family {
	if f := fs.find(name); f != nil {
		return f
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f := fs.all[name]
	if f != nil {
		fs.misses++
		if fs.misses > len(fs.all) {
			fs.publish()
		}
	}
	return f
}

// settled returns when no sweep is under way: from then on no family that it has dropped is found.
func (fs *families) settled() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
}

// list returns every family.
func (fs *families) list() []*family {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	list := make([]*family, 0, len(fs.all))
	for _, f := range fs.all {
		list = append(list, f)
	}
	return list
}

func (fs *families) publish() {
	all := fs.all
	fs.published.Store(&all)
	fs.shared, fs.misses = true, 0
}

// change makes all ready to be changed.
func (fs *families) change() {
	if fs.shared {
		fs.all, fs.shared = maps.Clone(fs.all), false
	} else if fs.all == nil {
		fs.all = map[string]*family{}
	}
}

// sweepEvery is how often idle families are looked for: a family unused for that long is dropped.
const sweepEvery = time.Minute

// add returns the family of a name, a new one if there is none and there may be one more.
func (fs *families) add(l *Limiter, name string) (*family, error) {
	if len(name) > driver.MaxKey {
		return nil, &driver.KeyError{Len: len(name)}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f := fs.all[name]; f != nil {
		return f, nil
	}
	if now := time.Now(); !now.Before(fs.sweepNext) || len(fs.all) >= l.maxFamilies && !now.Before(fs.sweepNext.Add(time.Second-sweepEvery)) {
		fs.sweepNext = now.Add(sweepEvery)
		fs.sweep()
	}
	if len(fs.all) >= l.maxFamilies {
		return nil, &FullError{What: "families", Max: l.maxFamilies}
	}
	fs.change()
	f := &family{limiter: l, name: name}
	if l.local != nil {
		f.local = l.local.Pin(name)
	}
	fs.all[name] = f
	return f, nil
}

// sweep drops what was not used since the last one.
func (fs *families) sweep() {
	idle := false
	for name, f := range fs.all {
		if f.drop() {
			if !idle {
				idle = true
				fs.change()
			}
			delete(fs.all, name)
		}
	}
	if idle {
		fs.publish() // or those dropped would be found for ever
	}
}
