package redis

import (
	"net"
	"sync"
	"time"
)

// conn is a connection of a client and the one to the server that belongs to it.
type conn struct {
	proxy          *Proxy
	client, server net.Conn
	once           sync.Once
	closed         chan struct{}

	mu    sync.Mutex
	fault Fault // what to do to the answers
}

func (c *conn) close() {
	c.once.Do(func() {
		close(c.closed)
		c.client.Close()
		c.server.Close()
	})
}

// wait returns false if the connection was closed meanwhile.
func (c *conn) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.closed:
		return false
	case <-c.proxy.closing:
		return false
	}
}

// hold waits until the connection is closed.
func (c *conn) hold() {
	select {
	case <-c.closed:
	case <-c.proxy.closing:
	}
}

func (c *conn) requests() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buffer)
		if err != nil {
			return
		}
		if f, ok := c.proxy.hit(buffer[:n], 0); ok {
			switch f.Kind {
			case LoseRequest:
				return
			case HoldRequest:
				c.hold()
				return
			case DelayRequest:
				if !c.wait(f.Delay) {
					return
				}
			default:
				c.mu.Lock()
				c.fault = f
				c.mu.Unlock()
			}
		}
		if _, err := c.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (c *conn) answers() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buffer)
		if err != nil {
			return
		}
		c.mu.Lock()
		f := c.fault
		if f.Kind == DelayAnswer {
			c.fault = Fault{}
		}
		c.mu.Unlock()
		switch f.Kind {
		case LoseAnswer:
			return
		case HoldAnswer:
			continue
		case HalfAnswer:
			c.client.Write(buffer[:n/2]) // it may be gone: the connection ends either way
			return
		case DelayAnswer:
			if !c.wait(f.Delay) {
				return
			}
		}
		if _, err := c.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
