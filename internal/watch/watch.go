package watch

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// Options configures a [Watcher].
type Options struct {
	// Every is how often it looks; 0 means once a second.
	Every time.Duration
	// Keep is how much history it keeps; 0 means five minutes.
	Keep time.Duration
	// MaxViewers bounds how many may look at once; 0 means no bound.
	MaxViewers int
}

// lookTimeout bounds one look.
const lookTimeout = 5 * time.Second

// Watcher looks at a source while somebody watches. Its methods are safe for concurrent use.
type Watcher struct {
	source Source
	opt    Options
	events events
	unhear func()

	mu       sync.Mutex
	viewers  int
	closed   bool
	cancel   context.CancelFunc // of the poller; nil if nobody watches
	stopped  chan struct{}      // closed when the poller has ended
	changed  chan struct{}      // closed when there is a newer snapshot
	snapshot *Snapshot          // the newest of this series of looks; nil before the first
	memories map[string]*memory
}

// New returns a Watcher. It notes events from now on, and looks at nothing yet.
func New(source Source, o Options) *Watcher {
	if o.Every <= 0 {
		o.Every = time.Second
	}
	if o.Keep <= 0 {
		o.Keep = 5 * time.Minute
	}
	if o.MaxViewers <= 0 {
		o.MaxViewers = math.MaxInt
	}
	w := &Watcher{source: source, opt: o, changed: make(chan struct{}), memories: map[string]*memory{}}
	w.unhear = source.hear(w.events.add)
	return w
}

// Every is how often the watcher looks.
func (w *Watcher) Every() time.Duration { return w.opt.Every }

// Keep is how much history it keeps.
func (w *Watcher) Keep() time.Duration { return w.opt.Keep }

// Close ends everybody's view, and waits for the poller to end. Closing twice is no error.
func (w *Watcher) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.changed)
		w.unhear()
	}
	w.mu.Unlock()
	w.rest()
}

// rest ends the poller, if there is one.
func (w *Watcher) rest() {
	w.mu.Lock()
	cancel, stopped := w.cancel, w.stopped
	if w.viewers > 0 && !w.closed {
		cancel = nil
	}
	if cancel != nil {
		w.cancel = nil
	}
	w.mu.Unlock()
	if cancel != nil {
		cancel()
		<-stopped
	}
}

// View is one viewer's.
type View struct {
	watcher *Watcher
	done    sync.Once
	event   uint64
	shown   *Snapshot
}

// View begins to watch; nil if there are too many viewers already, or the watcher is closed. Close the view when it is
// no longer needed.
func (w *Watcher) View() *View {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.viewers >= w.opt.MaxViewers {
		return nil
	}
	w.viewers++
	if w.cancel == nil {
		previous := w.stopped
		ctx, cancel := context.WithCancel(context.Background())
		w.cancel, w.stopped, w.snapshot = cancel, make(chan struct{}), nil
		go w.poll(ctx, previous, w.stopped)
	}
	return &View{watcher: w}
}

// Close ends the view, and the polling if it was the last.
func (v *View) Close() {
	v.done.Do(func() {
		v.watcher.mu.Lock()
		v.watcher.viewers--
		v.watcher.mu.Unlock()
		v.watcher.rest()
	})
}

// Update is what is new to a viewer.
type Update struct {
	Snapshot *Snapshot
	Events   []Event
}

// Next waits for a snapshot that the viewer hasn't seen, and returns it with the events since the last one. Snapshots
// may be passed over, events aren't, but for those that are no longer kept. false means that ctx has ended, or that the
// watcher was closed.
func (v *View) Next(ctx context.Context) (Update, bool) {
	w := v.watcher
	for {
		w.mu.Lock()
		snapshot, changed, closed := w.snapshot, w.changed, w.closed
		w.mu.Unlock()
		if closed {
			return Update{}, false
		}
		if snapshot != nil && snapshot != v.shown {
			v.shown = snapshot
			update := Update{snapshot, w.events.after(v.event)}
			if n := len(update.Events); n > 0 {
				v.event = update.Events[n-1].ID
			}
			return update, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Update{}, false
		}
	}
}

// Events are the newest events.
func (w *Watcher) Events() []Event { return w.events.after(0) }

// History returns what was seen of a quota, oldest first.
func (w *Watcher) History(family, resource, per string) []Point {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m := w.memories[family]; m != nil {
		if s := m.series[resource+"/"+per]; s != nil {
			return append([]Point(nil), s.points...)
		}
	}
	return nil
}

// poll looks until ctx ends, once the previous poller has ended.
func (w *Watcher) poll(ctx context.Context, previous, stopped chan struct{}) {
	defer close(stopped)
	if previous != nil {
		<-previous
	}
	end := w.source.begin()
	defer end()
	w.mu.Lock()
	for _, m := range w.memories {
		m.grants, m.denied = 0, 0
		for _, s := range m.series {
			s.at = time.Time{}
		}
	}
	w.mu.Unlock()
	ticker := time.NewTicker(w.opt.Every)
	defer ticker.Stop()
	last := time.Time{}
	failing := false
	for {
		looked, cancel := context.WithTimeout(ctx, lookTimeout)
		look := w.source.look(looked)
		cancel()
		if ctx.Err() != nil {
			return
		}
		now := time.Now()
		snapshot := &Snapshot{At: now, Families: []Family{}, Failed: look.Failed, Omitted: look.Omitted}
		if look.Err != nil {
			snapshot.Error = look.Err.Error()
		}
		if failed := look.Failed > 0 && len(look.Statuses) == 0; failed != failing {
			failing = failed
			if failed {
				w.events.add(Event{At: now, Grave: Bad, Text: "nothing can be seen: " + snapshot.Error})
			} else {
				w.events.add(Event{At: now, Grave: Info, Text: "the store answers again"})
			}
		}
		w.take(snapshot, look.Statuses, w.source.own(), last)
		last = now
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// take makes a snapshot of a look, remembers it, and publishes it.
func (w *Watcher) take(snapshot *Snapshot, statuses []throttle.Status, own map[string]*tally.Flow, last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := snapshot.At
	for i := range statuses {
		s := &statuses[i]
		m := w.memories[s.Family]
		if m == nil {
			m = &memory{debt: map[string]bool{}, series: map[string]*series{}}
			w.memories[s.Family] = m
		}
		m.at = now
		f := familyOf(s)
		m.see(&f, s, own, now, last, now.Add(-w.opt.Keep))
		m.notice(&f, w.events.add)
		snapshot.Families = append(snapshot.Families, f)
	}
	for name, m := range w.memories {
		if now.Sub(m.at) > w.opt.Keep {
			delete(w.memories, name)
		}
	}
	if w.closed {
		return
	}
	w.snapshot = snapshot
	close(w.changed)
	w.changed = make(chan struct{})
}

// see works out what takes two looks to know, and keeps the history.
func (m *memory) see(f *Family, s *throttle.Status, own map[string]*tally.Flow, now, last, from time.Time) {
	debits := map[string]float64{}
	if flow := own[s.Family]; flow != nil {
		for i := range flow.Resources {
			r := &flow.Resources[i]
			debits[r.Name] = r.Reserved - r.Refunded + r.Debt
		}
		denied := uint64(0)
		for _, r := range flow.Refused {
			denied += r.Count
		}
		if seconds := now.Sub(last).Seconds(); !last.IsZero() && seconds > 0 {
			f.Granted = float64(flow.Acquired-m.grants) / seconds
			f.Refused = float64(denied-m.denied) / seconds
		}
		m.grants, m.denied = flow.Acquired, denied
	}
	for i := range f.Quotas {
		q := &f.Quotas[i]
		name := q.Resource + "/" + q.Per
		history := m.series[name]
		if history == nil {
			history = &series{}
			m.series[name] = history
		}
		debited := math.NaN()
		if own != nil {
			debited = debits[q.Resource]
		}
		use := history.see(&s.Buckets[i], s.Now, debited)
		if !math.IsNaN(use) {
			q.Use, q.Seen = use, true
			if f.State == Idle && use > 0 {
				f.State = Busy // in use, though its buckets are full at this instant
			}
		}
		history.keep(Point{At: now, Level: q.Level / q.Burst, Use: use / q.Limit}, from)
	}
}
