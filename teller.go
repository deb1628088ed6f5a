package throttle

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// teller calls the hooks that tell of the store's answers: one at a time, in the order of the answers, and on no goroutine
// that somebody waits for, so that a hook may call the limiter.
type teller struct {
	mu      sync.Mutex
	queue   []func()
	telling bool
	idle    chan struct{} // closed when there is nothing to tell; nil unless somebody waits for that
}

// maxUntold is how many hooks may be due before the flusher waits tellerRest before each batch: hooks that take longer
// than the store would be due in ever greater number otherwise.
const (
	maxUntold  = 1000
	tellerRest = 10 * time.Millisecond
)

// add has hooks called, here and now or by another goroutine, after those that are due already.
func (t *teller) add(hooks []func(), here bool) {
	if len(hooks) == 0 {
		return
	}
	t.mu.Lock()
	t.queue = append(t.queue, hooks...)
	start := !t.telling
	t.telling = true
	t.mu.Unlock()
	if start && here {
		t.tell(len(hooks))
	} else if start {
		go t.tell(math.MaxInt)
	}
}

// tell calls as many hooks, and leaves the rest to another goroutine.
func (t *teller) tell(most int) {
	for ; ; most-- {
		t.mu.Lock()
		if len(t.queue) == 0 {
			t.queue, t.telling = nil, false
			if t.idle != nil {
				close(t.idle)
				t.idle = nil
			}
			t.mu.Unlock()
			return
		}
		if most == 0 {
			t.mu.Unlock()
			go t.tell(math.MaxInt)
			return
		}
		hook := t.queue[0]
		t.queue[0] = nil
		t.queue = t.queue[1:]
		t.mu.Unlock()
		hook()
	}
}

// rest waits a moment if hooks are called more slowly than they fall due.
func (t *teller) rest() {
	t.mu.Lock()
	behind := len(t.queue) > maxUntold
	t.mu.Unlock()
	if behind {
		time.Sleep(tellerRest)
	}
}

// wait returns when there is nothing to tell, or done is closed.
func (t *teller) wait(done <-chan struct{}) {
	t.mu.Lock()
	if !t.telling {
		t.mu.Unlock()
		return
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
	case <-done:
	}
}

// notice is a WaitStarted that is due. It is called once, by the teller or, if that hasn't come to it yet, by the call that
// it tells of, before that tells how it ended.
type notice struct {
	begun atomic.Bool
	over  chan struct{} // no lock and no sync.Once, for which time would stand still in a synctest bubble
	hook  func(context.Context, WaitInfo)
	ctx   context.Context
	info  WaitInfo
}

// tell returns when the hook has.
func (n *notice) tell() {
	if n.begun.Swap(true) {
		<-n.over
		return
	}
	defer close(n.over)
	tell(n.hook, n.ctx, n.info)
}
