package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/tokenthrottle/throttle/driver"
)

// watcher is one subscription. Its lock makes calls one at a time, and lets stop wait for the one under way.
type watcher struct {
	mu       sync.Mutex
	stopped  bool
	credited func(key string)
}

// Notify implements [driver.Notifier]. credited runs on the goroutine that freed the capacity.
func (d *Driver) Notify(ctx context.Context, credited func(key string)) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if d.closed.Load() {
		return nil, driver.ErrClosed
	}
	w := &watcher{credited: credited}
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

// tell calls the watchers if a request may have made room for somebody in the key's line.
func (d *Driver) tell(r *driver.Request, res *driver.Response) {
	all := d.watchers.Load()
	if all == nil {
		return
	}
	for i := range r.Ops {
		if !driver.Frees(&r.Ops[i], &res.Results[i]) {
			continue
		}
		for _, w := range *all {
			w.mu.Lock()
			if !w.stopped {
				w.credited(r.Key)
			}
			w.mu.Unlock()
		}
		return
	}
}
