// Package faultproxy stands between a client and a server and breaks what passes, at a moment that is chosen.
package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what happens to what passes.
type Fault int

// The faults. Each strikes a connection at the moment that [Proxy.Set] chose.
const (
	None      Fault = iota
	CutBefore       // the connection breaks before the request has reached the server
	CutAfter        // the request reaches the server, its answer is lost with the connection
	Half            // half of the answer arrives, then the connection breaks
	Hold            // the request reaches the server, nothing comes back and nothing more goes there (a black hole)
	Reset           // connections are reset as soon as they are made, and those that stand at once
	Slow            // everything is late by the proxy's delay
)

var names = map[Fault]string{None: "none", CutBefore: "cut-before", CutAfter: "cut-after", Half: "half", Hold: "hold", Reset: "reset", Slow: "slow"}

// String returns the fault's name.
func (f Fault) String() string { return names[f] }

// Proxy forwards TCP connections to a target.
type Proxy struct {
	// Addr is where to connect instead of to the target.
	Addr string

	target string
	listen net.Listener
	fault  atomic.Int32
	after  atomic.Int64 // messages that still pass before the fault strikes
	delay  atomic.Int64
	hits   atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  chan struct{}
	heal  chan struct{} // closed when the fault under way ends
	work  sync.WaitGroup
}

// New starts a proxy for a target address.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listen: l, conns: map[net.Conn]bool{}, done: make(chan struct{}), heal: make(chan struct{})}
	p.work.Go(p.accept)
	return p, nil
}

// Set lets a fault strike once `after` more messages have passed: requests for CutBefore and Hold, answers for CutAfter
// and Half. It goes on striking until the next Set.
func (p *Proxy) Set(f Fault, after int, delay time.Duration) {
	p.after.Store(int64(after))
	p.delay.Store(int64(delay))
	p.fault.Store(int32(f))
	p.mu.Lock()
	close(p.heal)
	p.heal = make(chan struct{})
	p.mu.Unlock()
	if f == Reset {
		p.CutAll()
	}
}

// Hits is how often a fault has struck.
func (p *Proxy) Hits() int { return int(p.hits.Load()) }

// Open is how many connections stand.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// CutAll breaks all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

// Close ends the proxy and everything that passes through it.
func (p *Proxy) Close() {
	close(p.done)
	p.listen.Close()
	p.CutAll()
	p.work.Wait()
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // RST, not FIN; closing is what counts
	}
	c.Close()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		if Fault(p.fault.Load()) == Reset {
			p.hits.Add(1)
			reset(client)
			continue
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			reset(client)
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		both := func() {
			reset(client)
			reset(server)
		}
		var pair sync.WaitGroup
		pair.Go(func() { defer both(); p.pass(client, server, false) })
		pair.Go(func() { defer both(); p.pass(server, client, true) })
		p.work.Go(func() {
			pair.Wait()
			p.mu.Lock()
			delete(p.conns, client)
			delete(p.conns, server)
			p.mu.Unlock()
		})
	}
}

// pass forwards what comes from one side, one read at a time, until a fault or the end.
func (p *Proxy) pass(from, to net.Conn, answers bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !p.message(buffer[:n], to, answers) {
			return
		}
		if err != nil {
			return
		}
	}
}

// message forwards one message, or does to it what the fault says; false ends the connection.
func (p *Proxy) message(data []byte, to net.Conn, answer bool) bool {
	f := Fault(p.fault.Load())
	strikes := answer == (f == CutAfter || f == Half)
	switch {
	case f == Hold && answer && p.after.Load() < 0:
		return p.held()
	case f == Slow:
		if !p.wait(time.Duration(p.delay.Load())) {
			return false
		}
	case f != None && f != Reset && strikes && p.after.Add(-1) < 0:
		p.hits.Add(1)
		switch f {
		case Half:
			_, _ = to.Write(data[:len(data)/2]) // the connection ends either way
			return false
		case Hold:
			if _, err := to.Write(data); err != nil {
				return false
			}
			return p.held()
		}
		return false
	}
	_, err := to.Write(data)
	return err == nil
}

// held keeps a connection silent until the fault ends, and then breaks it: what was to pass meanwhile is gone.
func (p *Proxy) held() bool {
	p.mu.Lock()
	heal := p.heal
	p.mu.Unlock()
	select {
	case <-heal:
	case <-p.done:
	}
	return false
}

func (p *Proxy) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.done:
		return false
	}
}
