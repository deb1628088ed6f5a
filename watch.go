package throttle

import (
	"slices"
	"sync"
)

// Watch adds hooks while the limiter is in use, for what looks at it now and then, such as a page that somebody has
// open. stop removes them; calls under way may reach them for a moment after it, and a call that was waiting before
// Watch ends without having started.
func (l *Limiter) Watch(h *Hooks) (stop func()) {
	if h == nil {
		return func() {}
	}
	own := *h // an identity of its own: the same hooks may watch twice
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	l.watches = append(l.watches, &own)
	l.joinHooks()
	return sync.OnceFunc(func() {
		l.watchMu.Lock()
		defer l.watchMu.Unlock()
		l.watches = slices.DeleteFunc(l.watches, func(o *Hooks) bool { return o == &own })
		l.joinHooks()
	})
}

func (l *Limiter) joinHooks() {
	l.hooks.Store(JoinHooks(append(slices.Clone(l.base), l.watches...)...))
}
