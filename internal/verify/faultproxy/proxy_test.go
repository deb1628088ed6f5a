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
			p, err := New(addr)
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
