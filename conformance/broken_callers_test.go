package conformance

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// calling is a flaw in how a call ends.
func calling(around func(d *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error)) flaw {
	return flaw{outer: func(d *subject, next applyFunc) applyFunc {
		return func(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
			return around(d, ctx, batch, next)
		}
	}}
}

// deep is a copy of a batch that shares nothing with it.
func deep(batch []driver.Request) []driver.Request {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Ops = slices.Clone(batch[i].Ops)
		for j := range batch[i].Ops {
			batch[i].Ops[j].Cost = slices.Clone(batch[i].Ops[j].Cost)
		}
	}
	return batch
}

func brokenCallers() []broken {
	return []broken{
		{"ctx is ignored", "context/ended", "with a ctx that is cancelled: error <nil>", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			return next(context.WithoutCancel(ctx), batch)
		})},
		{"an error of its own for a ctx that ended", "context/ended", "want one that matches context canceled", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			if err != nil && errors.Is(err, ctx.Err()) {
				err = errors.New("cancelled")
			}
			return responses, err
		})},
		{"applied, and ctx's error told", "context/ended", "the level went from 99 to", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(context.WithoutCancel(ctx), batch)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return responses, err
		})},
		{"a cancel that comes too late is told as in time", "context/ending", "units were taken", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			time.Sleep(200 * time.Microsecond) // the answer is on its way
			if err == nil && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return responses, err
		})},
		{"an unknown outcome without ctx's error", "context/ending", "want one that matches context deadline exceeded", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			if ctx.Err() != nil {
				return nil, driver.ErrUnknownOutcome
			}
			return responses, err
		})},
		{"half a request when ctx ends", "context/ending", "units were taken", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			first := deep(batch)
			for i := range first {
				first[i].Ops = first[i].Ops[:min(1, len(first[i].Ops))]
			}
			begun, err := next(ctx, first)
			if err != nil {
				return nil, err
			}
			time.Sleep(200 * time.Microsecond)
			rest := deep(batch)
			for i := range rest {
				rest[i].Ops = rest[i].Ops[min(1, len(rest[i].Ops)):]
			}
			responses, err := next(ctx, rest)
			for i := range responses {
				responses[i].Results = append(begun[i].Results, responses[i].Results...)
			}
			return responses, err
		})},
		{"a batch that goes on when ctx has ended", "context/ending", "units were taken", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			type outcome struct {
				responses []driver.Response
				err       error
			}
			batch = deep(batch)
			done := make(chan outcome, 1)
			go func() {
				time.Sleep(200 * time.Microsecond)
				responses, err := next(context.WithoutCancel(ctx), batch)
				done <- outcome{responses, err}
			}()
			select {
			case o := <-done:
				return o.responses, o.err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})},

		{"Close does nothing", "close/closed", "error <nil>, want one that matches driver.ErrClosed", flaw{close: func(*subject) error { return nil }}},
		{"another error after Close", "close/closed", "want one that matches driver.ErrClosed", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			if errors.Is(err, driver.ErrClosed) {
				err = errors.New("pool is closed")
			}
			return responses, err
		})},
		{"closing twice is an error", "close/twice", "already closed", flaw{close: func(d *subject) error {
			d.under.Lock()
			defer d.under.Unlock()
			if d.closed {
				return errors.New("already closed")
			}
			d.closed = true
			return nil
		}}},
		{"closing twice panics", "close/twice", "panicked", flaw{close: func(d *subject) error {
			d.under.Lock()
			defer d.under.Unlock()
			if d.closed {
				panic("close of closed channel")
			}
			d.closed = true
			return nil
		}}},
		{"Close pulls the store away from under a batch", "close/under-way", "have an unknown outcome, and", calling(func(_ *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			var all []driver.Response
			for i := range batch {
				some, err := next(ctx, batch[i:i+1])
				if err != nil {
					return nil, err
				}
				time.Sleep(50 * time.Microsecond)
				all = append(all, some...)
			}
			return all, nil
		})},
		{"Close cleans up the store", "close/others", "another finds 100", flaw{close: func(d *subject) error {
			d.under.Lock()
			defer d.under.Unlock()
			d.closed = true
			d.store.mu.Lock()
			defer d.store.mu.Unlock()
			clear(d.store.states)
			return nil
		}}},

		{"a lost answer is asked for again", "faults/exactly-once", "the answer is lost: of", flaw{unnamed: true}},
		{"a lost answer counts as a lost request", "faults/exactly-once", "the answer is lost: of", flaw{gone: true}},
		{"unknown outcomes are told as failures", "faults/exactly-once", "the answer is lost: of", calling(func(d *subject, ctx context.Context, batch []driver.Request, next applyFunc) ([]driver.Response, error) {
			responses, err := next(ctx, batch)
			if d.broken(0) == losesAnswers {
				return nil, errLost
			}
			return responses, err
		})},
		{"a connection that hangs is waited for", "faults/prompt", "Apply hangs though its ctx has ended", flaw{patient: true}},
	}
}

func brokenOptional() []broken {
	return []broken{
		{"a pinned key is every key", "local/same", "pinned:", pinning(func(p *pinned) driver.Pinned { p.key = ""; return p })},
		{"a pinned key keeps its first state", "local/anew", "there are two states", flaw{pin: func(d *subject, key string) driver.Pinned {
			return &kept{d: d, state: &bucket.State{}}
		}}},
		{"a pinned key lends a copy", "local/exclusive", "units of 500", pinning(func(p *pinned) driver.Pinned { return &lent{pinned: p} })},
		{"a pinned key tells nobody", "local/tells", "ready was never called", pinning(func(p *pinned) driver.Pinned { return silent{p} })},
		{"a pinned key after Close", "local/closed", "error <nil>", flaw{pin: func(d *subject, key string) driver.Pinned {
			return &kept{d: d, state: &bucket.State{}}
		}}},
		{"a pinned key stays locked after Close", "local/closed", "did not return within", pinning(func(p *pinned) driver.Pinned { return &stuck{pinned: p} })},

		{"Keys ends after a page", "lister/all", "is missing", listing(func(keys []string) []string { return keys[:min(50, len(keys))] })},
		{"Keys leaves out the empty one", "lister/all", `key "" is missing`, listing(func(keys []string) []string {
			return slices.DeleteFunc(keys, func(key string) bool { return key == "" })
		})},
		{"Keys shows what else is in the store", "lister/all", "was never used", listing(func(keys []string) []string {
			if len(keys) > 0 {
				keys = append(keys, "session")
			}
			return keys
		})},
		{"Keys holds the lock", "lister/all", "did not return within", flaw{keys: func(d *subject, _ context.Context) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				d.store.mu.Lock()
				defer d.store.mu.Unlock()
				for key := range d.store.states {
					if !yield(key, nil) {
						return
					}
				}
			}
		}}},
		{"Keys ignores ctx", "lister/all", "Keys with a ctx that has ended", listing(func(keys []string) []string { return keys })},

		{"a credit in another process isn't told", "notifier/instances", "ready was never called", flaw{notify: func(d *subject, ready func(key, place string)) func() {
			w := d.watch(ready)
			w.over = d.number == 0 // deaf, but for the instance that gives
			return func() {}
		}}},
		{"nothing is told", "notifier/ready", "ready was never called", flaw{notify: func(*subject, func(key, place string)) func() { return func() {} }}},
		{"the key is told, not the place", "notifier/ready", "ready was never called", flaw{notify: func(d *subject, ready func(key, place string)) func() {
			w := d.watch(func(key, _ string) { ready(key, "") })
			return func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.over = true
			}
		}}},
		{"stop doesn't wait", "notifier/stop", "while a call of ready was under way", flaw{notify: func(d *subject, ready func(key, place string)) func() {
			d.watch(ready)
			return func() {}
		}}},
		{"stop doesn't stop", "notifier/stop", "after stop had returned", flaw{notify: func(d *subject, ready func(key, place string)) func() {
			w := d.watch(ready)
			return func() {
				w.mu.Lock()
				defer w.mu.Unlock()
			}
		}}},
	}
}

// pinning is a flaw in how a key is pinned.
func pinning(edit func(*pinned) driver.Pinned) flaw {
	return flaw{pin: func(d *subject, key string) driver.Pinned { return edit(&pinned{d: d, key: key}) }}
}

// kept is the way to the state that a key had when it was pinned, until somebody else lets the store forget it.
type kept struct {
	d     *subject
	state *bucket.State
}

func (k *kept) Lock() (*bucket.State, error) {
	k.d.store.mu.Lock()
	return k.state, nil
}

func (k *kept) Unlock(bool) { k.d.store.mu.Unlock() }

// silent is a key that forgets that something was freed.
type silent struct{ *pinned }

func (s silent) Unlock(bool) { s.pinned.Unlock(false) }

// lent is a key that is written back when others may have used it in between.
type lent struct {
	*pinned
	mu   sync.Mutex // against a torn read, which no clause looks for
	copy *bucket.State
}

func (l *lent) Lock() (*bucket.State, error) {
	l.mu.Lock()
	s, err := l.pinned.Lock()
	if err != nil {
		l.mu.Unlock()
		return nil, err
	}
	l.copy = s.Clone()
	l.pinned.Unlock(false)
	runtime.Gosched()
	return l.copy, nil
}

func (l *lent) Unlock(bool) {
	l.d.store.mu.Lock()
	l.d.store.states[l.key] = l.copy
	l.d.store.mu.Unlock()
	l.mu.Unlock()
}

// stuck is a key that forgets its lock when the driver is closed.
type stuck struct {
	*pinned
	mu sync.Mutex
}

func (s *stuck) Lock() (*bucket.State, error) {
	s.mu.Lock()
	return s.pinned.Lock()
}

func (s *stuck) Unlock(freed bool) {
	s.pinned.Unlock(freed)
	s.mu.Unlock()
}

// listing is a flaw in which keys are listed.
func listing(edit func([]string) []string) flaw {
	return flaw{keys: func(d *subject, _ context.Context) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, key := range edit(d.store.keys()) {
				if !yield(key, nil) {
					return
				}
			}
		}
	}}
}
