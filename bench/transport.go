package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// calls is a side that sends chat requests to a simulated API on loopback, which answers at once. It times a call to the
// end of its answer or, streaming, to the first byte of its body.
func calls(limited, stream bool) func() (side, error) {
	return func() (side, error) {
		server, err := provider.Start(provider.Config{})
		if err != nil {
			return side{}, err
		}
		base := http.DefaultTransport.(*http.Transport).Clone()
		client := &http.Client{Transport: base}
		name := "the same client without it"
		if limited {
			name = "http.Client with openai.Transport"
			l := openai.NewLimiter(memory.New(), openai.Limits{RPM: 1e9, TPM: 1e12})
			client.Transport = &openai.Transport{Limiter: l, Base: base, Hosts: []string{"127.0.0.1"}}
		}
		body := fmt.Appendf(nil, `{"model":"gpt-4.1","max_tokens":100,"stream":%v,"messages":[{"role":"user","content":%q}]}`,
			stream, strings.Repeat("How many roads must a man walk down? ", 30))
		buffer := make([]byte, 1)
		call := func() (time.Duration, error) {
			start := time.Now()
			res, err := client.Post(server.URL+"/v1/chat/completions", "application/json", bytes.NewReader(body))
			if err != nil {
				return 0, err
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return 0, fmt.Errorf("the simulated API answers %s", res.Status)
			}
			var took time.Duration
			if stream {
				if _, err := io.ReadFull(res.Body, buffer); err != nil {
					return 0, err
				}
				took = time.Since(start)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				return 0, err
			}
			if !stream {
				took = time.Since(start)
			}
			return took, nil
		}
		return side{
			name: name,
			turn: func(n int) (time.Duration, error) {
				var sum time.Duration
				for range n {
					took, err := call()
					if err != nil {
						return 0, err
					}
					sum += took
				}
				return sum, nil
			},
			close: func() { client.CloseIdleConnections(); server.Close() },
		}, nil
	}
}

func transportContests() []contest {
	return []contest{
		{name: "transport", goroutines: 1, keys: 1, rounds: 15, ours: calls(true, false), other: calls(false, false)},
		{name: "transport-first-byte", goroutines: 1, keys: 1, rounds: 15, ours: calls(true, true), other: calls(false, true)},
	}
}
