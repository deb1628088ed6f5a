package security

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// serve answers every connection with what say writes, until the other side has enough.
func serve(t *testing.T, say func(w *bufio.Writer) error) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				w := bufio.NewWriter(c)
				if say(w) == nil {
					_ = w.Flush()
				}
			}()
		}
	}()
	return l.Addr().String()
}

// post sends a chat request through a transport with a limit on requests, and says what is left of it after that.
func post(t *testing.T, address string, read func(*http.Response) error) (left float64, err error) {
	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 1000, TPM: openai.NoLimit})
	defer lim.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&openai.Transport{Limiter: lim, Base: base, Hosts: []string{address}, MaxRetries: -1}).RoundTrip(r)
	if err == nil {
		err = errors.Join(read(resp), resp.Body.Close())
	}
	if ctx.Err() != nil {
		t.Error("it hung")
	}
	s, statusErr := lim.Status(t.Context(), "m")
	if statusErr != nil {
		t.Fatal(statusErr)
	}
	return s.Buckets[0].Level, err
}

// heap is what is alive, the vocabulary that text is counted with included.
func heap() uint64 {
	openai.Tiktoken{}.Load("m")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Headers without end are the base transport's to end; the call ends with its error and is settled.
func TestEndlessHeaders(t *testing.T) {
	address := serve(t, func(w *bufio.Writer) error {
		if _, err := w.WriteString("HTTP/1.1 200 OK\r\n"); err != nil {
			return err
		}
		for {
			if _, err := w.WriteString("X-Ratelimit-Remaining-Requests: 5\r\n"); err != nil {
				return err
			}
		}
	})
	left, err := post(t, address, func(*http.Response) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("error %v, want one about headers", err)
	}
	if left < 970 {
		t.Errorf("%g requests are left", left)
	}
}

// The body of a refusal is looked at, but not for ever: it reaches whoever sent the request, who may stop reading.
func TestEndlessRefusal(t *testing.T) {
	address := serve(t, func(w *bufio.Writer) error {
		if _, err := w.WriteString("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n{\"error\":{\"message\":\""); err != nil {
			return err
		}
		for {
			if _, err := w.WriteString("and so on, "); err != nil {
				return err
			}
		}
	})
	before := heap()
	_, err := post(t, address, func(resp *http.Response) error {
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 32<<20); err != nil {
			return err
		}
		if after := heap(); after > before+8<<20 {
			t.Errorf("%d bytes are kept of an endless body", after-before)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A stream without end, in one line or in many, passes through and leaves nothing behind.
func TestEndlessStream(t *testing.T) {
	for name, piece := range map[string]string{
		"one line":       `data: {"choices":[{"delta":{"content":"` + strings.Repeat("a", 1000),
		"many events":    "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
		"usage and more": "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":999999999999999999999}}\n\n",
		"nested":         "data: " + strings.Repeat("[{\"a\":", 200),
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, func(w *bufio.Writer) error {
				if _, err := w.WriteString("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"); err != nil {
					return err
				}
				for {
					if _, err := w.WriteString(piece); err != nil {
						return err
					}
				}
			})
			before := heap()
			_, err := post(t, address, func(resp *http.Response) error {
				if _, err := io.CopyN(io.Discard, resp.Body, 16<<20); err != nil {
					return err
				}
				if after := heap(); after > before+8<<20 {
					t.Errorf("%d bytes are kept of an endless stream", after-before)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// What an answer says that it used is what it costs, but no number of a provider's breaks the arithmetic or the next call.
func TestHugeUsage(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}}`)
	}))
	defer server.Close()
	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 1000, TPM: 1_000_000})
	defer lim.Close()
	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[],"max_tokens":1}`))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		resp, err := (&openai.Transport{Limiter: lim, Hosts: []string{strings.TrimPrefix(server.URL, "http://")}, CallOptions: func(*http.Request) []throttle.CallOption {
			return []throttle.CallOption{throttle.FailFast()}
		}}).RoundTrip(r.WithContext(ctx))
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			err = resp.Body.Close()
		}
		cancel()
		var deadline *throttle.DeadlineError
		if err != nil && !errors.As(err, &deadline) {
			t.Errorf("error %v", err)
		}
	}
	s, err := lim.Status(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range s.Buckets {
		if !(b.Level >= -1e15 && b.Level <= b.Burst) {
			t.Errorf("%s: level %g", b.Resource, b.Level)
		}
	}
}
