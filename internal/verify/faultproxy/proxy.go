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

	protocol Protocol
	target   atomic.Value // string
	listen   net.Listener
	fault    atomic.Int32
	after    atomic.Int64 // messages that still pass before the fault strikes
	delay    atomic.Int64
	hits     atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  chan struct{}
	heal  chan struct{} // closed when the fault under way ends
	work  sync.WaitGroup

	// Of SetEach: the places at which no connection was struck yet, how many there are (0: it isn't on), how often all of
	// them were, and a number that each Set and SetEach raises.
	places     map[int]bool
	upTo       int
	rounds     int
	generation int
}

// New starts a proxy for a target address. Messages are the protocol's.
func New(target string, protocol Protocol) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), protocol: protocol, listen: l, conns: map[net.Conn]bool{}, done: make(chan struct{}), heal: make(chan struct{})}
	p.target.Store(target)
	p.work.Go(p.accept)
	return p, nil
}

// Set lets a fault strike once `after` more messages have passed: requests for CutBefore and Hold, answers for CutAfter
// and Half. It goes on striking until the next Set.
func (p *Proxy) Set(f Fault, after int, delay time.Duration) {
	p.set(f, after, delay, 0)
	if f == Reset {
		p.CutAll()
	}
}

// SetEach lets a fault strike a connection at its first message, another at its second, and so on up to a number, in
// whatever order they come by, and then all of it again: so every place in a connection's life is tried, its making
// included. Connections that stand count from here on. It is for CutBefore, CutAfter and Half.
func (p *Proxy) SetEach(f Fault, upTo int) { p.set(f, 0, 0, upTo) }

func (p *Proxy) set(f Fault, after int, delay time.Duration, upTo int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after.Store(int64(after))
	p.delay.Store(int64(delay))
	p.fault.Store(int32(f))
	p.upTo, p.rounds, p.places = upTo, 0, nil
	p.generation++
	close(p.heal)
	p.heal = make(chan struct{})
}

// Each is at how many places SetEach's fault has struck since, and how many there are.
func (p *Proxy) Each() (struck, places int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.rounds > 0:
		return p.upTo, p.upTo
	case p.places == nil:
		return 0, p.upTo
	}
	return p.upTo - len(p.places), p.upTo
}

// Target sends connections that are made from here on to another address, as a failover does.
func (p *Proxy) Target(addr string) { p.target.Store(addr) }

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
		server, err := net.Dial("tcp", p.target.Load().(string))
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

// stream is one direction of a connection.
type stream struct {
	answers    bool
	generation int
	messages   int // since SetEach
}

// pass forwards what comes from one side, message by message, until a fault or the end.
func (p *Proxy) pass(from, to net.Conn, answers bool) {
	next := func(data []byte) int { return len(data) }
	if p.protocol != nil {
		next = p.protocol(answers)
	}
	s := &stream{answers: answers}
	var data []byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		data = append(data, buffer[:n]...)
		whole := 0 // how much of data may pass at once
		for whole < len(data) {
			length := next(data[whole:])
			if length == 0 {
				break
			}
			f := p.verdict(s)
			if f == None {
				whole += length
				continue
			}
			if _, err := to.Write(data[:whole]); err != nil {
				return
			}
			if !p.strike(f, data[whole:whole+length], to, answers) {
				return
			}
			data, whole = data[whole+length:], 0
		}
		if _, werr := to.Write(data[:whole]); werr != nil || err != nil {
			return
		}
		data = append(data[:0], data[whole:]...)
	}
}

// verdict says what happens to the next message.
func (p *Proxy) verdict(s *stream) Fault {
	f := Fault(p.fault.Load())
	if f == None || f == Reset || f == Slow {
		return map[Fault]Fault{Slow: Slow}[f]
	}
	if f == Hold && s.answers {
		if p.after.Load() < 0 {
			return Hold
		}
		return None
	}
	if s.answers != (f == CutAfter || f == Half) {
		return None
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.upTo == 0 {
		if p.after.Add(-1) < 0 {
			p.hits.Add(1)
			return f
		}
		return None
	}
	if s.generation != p.generation {
		s.generation, s.messages = p.generation, 0
	}
	s.messages++
	if len(p.places) == 0 {
		p.places = map[int]bool{}
		for i := range p.upTo {
			p.places[i+1] = true
		}
	}
	if !p.places[s.messages] {
		return None
	}
	delete(p.places, s.messages)
	if len(p.places) == 0 {
		p.rounds++
	}
	p.hits.Add(1)
	return f
}

// strike does to a message what the fault says; false ends the connection.
func (p *Proxy) strike(f Fault, message []byte, to net.Conn, answer bool) bool {
	switch f {
	case Slow:
		if !p.wait(time.Duration(p.delay.Load())) {
			return false
		}
		_, err := to.Write(message)
		return err == nil
	case Half:
		_, _ = to.Write(message[:len(message)/2]) // the connection ends either way
	case Hold:
		if !answer {
			if _, err := to.Write(message); err != nil {
				return false
			}
		}
		return p.held()
	}
	return false
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
