package redis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// echo is a server that answers each line with "got LINE", and counts the lines.
func echo(t *testing.T) (addr string, lines chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewReader(c); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					lines <- strings.TrimSpace(line)
					fmt.Fprintf(c, "got %s", line)
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

func TestProxyFaults(t *testing.T) {
	addr, lines := echo(t)
	p := startProxy(t, addr)
	for _, c := range []struct {
		fault   Fault
		arrives bool
		answer  string // what the client reads until the connection ends or falls silent
		ends    bool
	}{
		{Fault{Kind: LoseRequest}, false, "", true},
		{Fault{Kind: LoseAnswer}, true, "", true},
		{Fault{Kind: HalfAnswer}, true, "got h", true},
		{Fault{Kind: DelayRequest, Delay: time.Millisecond}, true, "got hello\n", false},
		{Fault{Kind: DelayAnswer, Delay: time.Millisecond}, true, "got hello\n", false},
		{Fault{Kind: HoldRequest}, false, "", false},
		{Fault{Kind: HoldAnswer}, true, "", false},
		{Fault{Kind: LoseAnswer, Match: "other"}, true, "got hello\n", false},
		{Fault{Kind: LoseAnswer, Match: "HELLO"}, true, "", true},
		{Fault{Kind: Refuse}, false, "", true},
		{Fault{}, true, "got hello\n", false},
	} {
		t.Run(fmt.Sprintf("%+v", c.fault), func(t *testing.T) {
			p.Break(c.fault)
			conn, err := net.Dial("tcp", p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintln(conn, "hello")
			if c.arrives {
				if line := <-lines; line != "hello" {
					t.Errorf("the server got %q", line)
				}
			}
			patience := 50 * time.Millisecond
			if c.ends || c.answer != "" {
				patience = 5 * time.Second
			}
			conn.SetReadDeadline(time.Now().Add(patience))
			answer := make([]byte, len(c.answer))
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != c.answer {
				t.Errorf("answer %q, %v, want %q", answer, err, c.answer)
			}
			if !c.ends {
				conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			}
			_, err = conn.Read(make([]byte, 1))
			timeout, _ := err.(net.Error)
			if silent := timeout != nil && timeout.Timeout(); silent == c.ends {
				t.Errorf("the connection ends with %v", err)
			}
			if len(lines) > 0 {
				t.Errorf("the server got %q", <-lines)
			}
		})
	}
}

func TestProxyFaultIsDoneSoOften(t *testing.T) {
	addr, _ := echo(t)
	p := startProxy(t, addr)
	p.Break(Fault{Kind: LoseAnswer, Times: 2})
	for i := range 4 {
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(conn, "hello")
		_, err = bufio.NewReader(conn).ReadString('\n')
		if (err != nil) != (i < 2) {
			t.Errorf("exchange %d: %v", i, err)
		}
		conn.Close()
	}
	if p.Broken() != 2 {
		t.Errorf("broken %d times", p.Broken())
	}
}
