package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/tokenthrottle/throttle/driver"
)

// watcher is one subscription. Its lock makes calls one at a time, and lets stop wait for the one under way.
type watcher struct {
	mu      sync.Mutex
	stopped bool
	ready   func(key, place string)
}

// Notify implements [driver.Notifier]. ready runs on the goroutine that freed the capacity.
func (d *Driver) Notify(ctx context.Context, ready func(key, place string)) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.closed.Load() {
		return nil, driver.ErrClosed
	}
	w := &watcher{ready: ready}
	d.change(func(all []*watcher) []*watcher { return append(all, w) })
	return func() {
		d.change(func(all []*watcher) []*watcher {
			return slices.DeleteFunc(all, func(o *watcher) bool { return o == w })
		})
		w.mu.Lock()
		w.stopped = true
		w.mu.Unlock()
	}, nil
}

// change replaces the list of watchers, which readers take without a lock.
func (d *Driver) change(edit func([]*watcher) []*watcher) {
	d.watchMu.Lock()
	defer d.watchMu.Unlock()
	var all []*watcher
	if p := d.watchers.Load(); p != nil {
		all = slices.Clone(*p)
	}
	all = edit(all)
	d.watchers.Store(&all)
}

// tell calls the watchers for each place of the key that is ready.
func (d *Driver) tell(key string, places []string) {
	for _, w := range *d.watchers.Load() {
		w.mu.Lock()
		for _, place := range places {
			if w.stopped {
				break
			}
			w.ready(key, place)
		}
		w.mu.Unlock()
	}
}
