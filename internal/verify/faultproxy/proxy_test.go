package faultproxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// echo answers each line with itself in capitals, and counts the lines it was sent.
func echo(t *testing.T) (addr string, seen chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for s := bufio.NewScanner(c); s.Scan(); {
					seen <- s.Text()
					io.WriteString(c, strings.ToUpper(s.Text())+"\n")
				}
			}()
		}
	}()
	return l.Addr().String(), seen
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		fault   Fault
		reaches bool   // the second line reaches the server
		answer  string // what comes back of it
	}{
		{None, true, "TWO\n"},
		{CutBefore, false, ""},
		{CutAfter, true, ""},
		{Half, true, "TW"},
		{Hold, true, ""},
		{Reset, false, ""},
		{Slow, true, "TWO\n"},
	} {
		t.Run(c.fault.String(), func(t *testing.T) {
			addr, seen := echo(t)
			p, err := New(addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			conn, err := net.Dial("tcp", p.Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "one\n")
			r := bufio.NewReader(conn)
			if line, err := r.ReadString('\n'); line != "ONE\n" {
				t.Fatalf("%q, %v", line, err)
			}
			<-seen
			p.Set(c.fault, 0, 20*time.Millisecond)
			io.WriteString(conn, "two\n")
			if c.reaches {
				if got := <-seen; got != "two" {
					t.Errorf("the server saw %q", got)
				}
			}
			if c.fault == Hold {
				conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			}
			if got, _ := r.ReadString('\n'); got != c.answer {
				t.Errorf("%q came back, want %q", got, c.answer)
			}
			if !c.reaches && len(seen) > 0 {
				t.Errorf("the server saw %q", <-seen)
			}
		})
	}
}

// Each of a connection's messages is struck once, in connections that come one after another.
func TestEachPlaceIsStruck(t *testing.T) {
	addr, seen := echo(t)
	go func() {
		for range seen {
		}
	}()
	lines := func(bool) func([]byte) int {
		return func(data []byte) int { return strings.IndexByte(string(data), '\n') + 1 }
	}
	p, err := New(addr, lines)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const places = 5
	p.SetEach(CutAfter, places)
	var struck []int
	for range places {
		conn, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "1\n2\n3\n4\n5\n6\n")
		n := 0
		for s := bufio.NewScanner(conn); s.Scan(); {
			n++
		}
		struck = append(struck, n+1)
		conn.Close()
	}
	for i, n := range struck {
		if n != i+1 {
			t.Fatalf("connections were struck at %v", struck)
		}
	}
	if n, of := p.Each(); n != places || of != places {
		t.Errorf("struck at %d of %d places", n, of)
	}
}

func TestProtocols(t *testing.T) {
	for _, c := range []struct {
		name     string
		messages []string
		next     func([]byte) int
	}{
		{"redis, request", []string{"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "*1\r\n$4\r\nPING\r\n"}, Redis(false)},
		{"redis, answer", []string{"+OK\r\n", "$-1\r\n", ":12\r\n", "%1\r\n+a\r\n*2\r\n$2\r\n\r\n\r\n_\r\n", "-ERR 1 \r\n", "*-1\r\n", ">2\r\n+x\r\n#t\r\n", "|1\r\n+a\r\n+b\r\n,1.5\r\n"}, Redis(true)},
		{"postgres, request", []string{"\x00\x00\x00\x08\x00\x03\x00\x00", "S\x00\x00\x00\x04", "Q\x00\x00\x00\x06a\x00"}, Postgres(false)},
		{"postgres, answer", []string{"Z\x00\x00\x00\x05I", "1\x00\x00\x00\x04"}, Postgres(true)},
	} {
		data := strings.Join(c.messages, "")
		for _, want := range c.messages {
			for short := range want {
				if n := c.next([]byte(want[:short])); n != 0 {
					t.Errorf("%s: %q cut to %d bytes has a message of %d", c.name, want, short, n)
				}
			}
			if n := c.next([]byte(data)); n != len(want) {
				t.Fatalf("%s: the first message of %q has %d bytes, want %d", c.name, data, n, len(want))
			}
			data = data[len(want):]
		}
	}
}
