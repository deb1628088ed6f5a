package redis

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// This proxy breaks exchanges by what a request holds: package faultproxy breaks them by their number.

// Kind is a way to break a connection.
type Kind int

// The kinds. What is done, is done to an exchange whose request matches: a chunk of bytes that the client sends, and
// what the server sends from then on.
const (
	// LoseRequest closes the connection without having passed the request on.
	LoseRequest Kind = iota + 1
	// LoseAnswer passes the request on, waits for the answer and closes the connection instead of passing that on.
	LoseAnswer
	// HalfAnswer passes on the first half of the answer and closes the connection.
	HalfAnswer
	// DelayRequest passes the request on after Fault.Delay.
	DelayRequest
	// DelayAnswer passes the answer on after Fault.Delay.
	DelayAnswer
	// HoldRequest passes nothing on any more, in either direction, and leaves the connection open.
	HoldRequest
	// HoldAnswer passes requests on and no answers, and leaves the connection open.
	HoldAnswer
	// Refuse closes new connections at once, whatever Match says.
	Refuse
)

// Fault is what to break, when, and how often.
type Fault struct {
	Kind Kind
	// Match is what a request must contain; empty for any. Upper and lower case are the same.
	Match string
	// Times is how many exchanges to break; 0 for all, until Mend.
	Times int
	// Every breaks only each such many exchanges that match; 0 is 1.
	Every int
	// Delay is for DelayRequest and DelayAnswer.
	Delay time.Duration
}

// Proxy passes connections on to a server. It is safe for concurrent use.
type Proxy struct {
	backend  string
	listener net.Listener
	closing  chan struct{}
	running  sync.WaitGroup

	mu     sync.Mutex
	fault  Fault
	seen   int // exchanges that match
	broken int
	conns  map[*conn]struct{}
}

// startProxy starts a proxy to a server at host:port, and ends it with the test.
func startProxy(t testing.TB, backend string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{backend: backend, listener: l, closing: make(chan struct{}), conns: map[*conn]struct{}{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		close(p.closing)
		l.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Break breaks exchanges from now on, on connections old and new, instead of what an earlier call said.
func (p *Proxy) Break(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.seen, p.broken = f, 0, 0
}

// Mend ends Break. Connections that were held stay so; see Cut.
func (p *Proxy) Mend() { p.Break(Fault{}) }

// Broken is how many exchanges, or connections, have been broken since the last Break.
func (p *Proxy) Broken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// Cut closes all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	conns := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		conns = append(conns, c)
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		if _, refused := p.hit(nil, Refuse); refused {
			client.Close()
			continue
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// hit returns the fault, and counts it, if it is to be done now: to a new connection, or to a request.
func (p *Proxy) hit(request []byte, kind Kind) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fault
	if f.Kind == 0 || (f.Kind == Refuse) != (kind == Refuse) || f.Times > 0 && p.broken >= f.Times {
		return Fault{}, false
	}
	if kind != Refuse && !bytes.Contains(bytes.ToLower(request), bytes.ToLower([]byte(f.Match))) {
		return Fault{}, false
	}
	p.seen++
	if f.Every > 1 && p.seen%f.Every != 0 {
		return Fault{}, false
	}
	p.broken++
	return f, true
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.backend)
	if err != nil {
		client.Close()
		return
	}
	c := &conn{proxy: p, client: client, server: server, closed: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	p.running.Go(func() { c.answers(); c.close() })
	c.requests()
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}
