package security

import (
	"bytes"
	"crypto/rand"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// swallow is a base transport that keeps nothing itself.
type swallow struct{}

func (swallow) RoundTrip(r *http.Request) (*http.Response, error) {
	var buffer [64]byte
	for {
		if _, err := r.Body.Read(buffer[:]); err != nil {
			break
		}
	}
	clear(buffer[:])
	r.Body.Close()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"usage":{"input_tokens":1,"prompt_tokens":1}}`))}, nil
}

// inMemory says whether what is alive, as a core file would show it, holds a text.
func inMemory(t *testing.T, text []byte) bool {
	t.Helper()
	runtime.GC()
	runtime.GC() // what a pool held
	f, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	dump, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	copies := bytes.Count(dump, text)
	clear(dump)
	return copies > 1 // text itself is one
}

// When a call is over nothing of what was asked is left: no counter, cache or pool keeps it.
func TestATransportKeepsNoBody(t *testing.T) {
	for name, transport := range map[string]http.RoundTripper{
		"openai": &openai.Transport{Base: swallow{}, Hosts: []string{"h"}, Limiter: throttle.New(memory.New(), throttle.Static(throttle.PerDay("tokens", 1e9), throttle.PerDay("requests", 100)))},
		"anthropic": &anthropic.Transport{Base: swallow{}, Hosts: []string{"h"}, Limiter: throttle.New(memory.New(), throttle.Static(
			throttle.PerDay("input_tokens", 1e9), throttle.PerDay("output_tokens", 1e9), throttle.PerDay("requests", 100)))},
	} {
		t.Run(name, func(t *testing.T) {
			path := map[string]string{"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}[name]
			marker := []byte(rand.Text())
			body := []byte(`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"tell nobody of `)
			body = append(append(body, marker...), ` or of anything else"}]}`...)
			// Without GetBody, so that the transport has to keep what it may have to send again.
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://h"+path, io.MultiReader(bytes.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if !inMemory(t, marker) {
				t.Fatal("the request itself isn't seen: the test sees nothing")
			}
			runtime.KeepAlive(body)
			clear(body)
			if inMemory(t, marker) {
				t.Error("something of the request is still there")
			}
			runtime.KeepAlive(transport)
			runtime.KeepAlive(marker)
		})
	}
}
