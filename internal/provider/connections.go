package provider

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// connections knows the state of each open connection. The zero value has none.
type connections struct {
	mu      sync.Mutex
	states  map[net.Conn]http.ConnState
	changed chan struct{} // closed at the next change; nil while nobody waits
}

// track is an [http.Server]'s ConnState.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states == nil {
		c.states = map[net.Conn]http.ConnState{}
	}
	if state == http.StateClosed || state == http.StateHijacked {
		delete(c.states, conn)
	} else {
		c.states[conn] = state
	}
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// in counts the connections in a state; the caller holds mu.
func (c *connections) in(state http.ConnState) int {
	n := 0
	for _, s := range c.states {
		if s == state {
			n++
		}
	}
	return n
}

// wait returns when ok, called with mu held, is true, or when giveUp fires.
func (c *connections) wait(ok func() bool, giveUp <-chan time.Time) {
	for {
		c.mu.Lock()
		if ok() {
			c.mu.Unlock()
			return
		}
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-giveUp:
			return
		}
	}
}
