package postgres

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// proxy stands between a driver and its server, understands where messages begin, and does to each what verdict says.
type proxy struct {
	addr    string
	target  string
	verdict atomic.Pointer[func(message) action]

	mu    sync.Mutex
	pairs map[*pair]bool
	ended bool
	work  sync.WaitGroup
}

// message is one message of the wire protocol. The first one of a client, which has no kind, has kind 0.
type message struct {
	fromServer bool
	kind       byte
	body       []byte
}

// committed says that the server reports a transaction as committed.
func (m message) committed() bool {
	return m.fromServer && m.kind == 'C' && string(m.body) == "COMMIT\x00"
}

type action int

const (
	pass action = iota
	cut         // close both sides instead of sending it on
	hold        // keep it, and all that follows, on both sides
	drop        // send all but this one on
)

// pair is a client's connection and the server's.
type pair struct {
	client, server net.Conn
	held           chan struct{} // closed when nothing is to be sent on any more
	once           sync.Once
	gone           chan struct{}
}

func newProxy(tb testing.TB, target string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, pairs: map[*pair]bool{}}
	p.set(nil)
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.serve(c) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.cutAll()
		p.work.Wait()
	})
	return p
}

// set changes what is done to messages; nil passes all.
func (p *proxy) set(verdict func(message) action) {
	if verdict == nil {
		verdict = func(message) action { return pass }
	}
	p.verdict.Store(&verdict)
}

// cutAll closes all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.close()
	}
}

// through makes a pool connect to the proxy, which reads along.
func (p *proxy) through(c *pgxpool.Config) { connectTo(c, p.addr) }

func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		client.Close()
		return
	}
	c := &pair{client: client, server: server, held: make(chan struct{}), gone: make(chan struct{})}
	p.mu.Lock()
	p.pairs[c] = true
	ended := p.ended
	p.mu.Unlock()
	if ended {
		c.close()
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, client, server, false) })
	both.Go(func() { p.pump(c, server, client, true) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

func (c *pair) close() {
	c.once.Do(func() {
		close(c.gone)
		c.client.Close()
		c.server.Close()
	})
}

func (p *proxy) pump(c *pair, from, to net.Conn, fromServer bool) {
	defer c.close()
	r := bufio.NewReader(from)
	first := !fromServer
	for {
		m, raw, err := readMessage(r, first)
		if err != nil {
			return
		}
		first = false
		m.fromServer = fromServer
		switch (*p.verdict.Load())(m) {
		case cut:
			return
		case drop:
			continue
		case hold:
			closeOnce(c.held)
		}
		select {
		case <-c.held:
			<-c.gone
			return
		default:
		}
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

var closeMu sync.Mutex

func closeOnce(ch chan struct{}) {
	closeMu.Lock()
	defer closeMu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}

func readMessage(r *bufio.Reader, first bool) (message, []byte, error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return message{}, nil, err
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	raw := append(head, make([]byte, size)...)
	if _, err := io.ReadFull(r, raw[len(head):]); err != nil {
		return message{}, nil, err
	}
	m := message{body: raw[len(head):]}
	if !first {
		m.kind = raw[0]
	}
	return m, raw, nil
}

// hostOf is host:port of a URL.
func hostOf(tb testing.TB, raw string) string {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.Contains(u.Host, ":") {
		return u.Host + ":5432"
	}
	return u.Host
}
