package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	sdkopenai "github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"

	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

// beside is what a batch got while production took a varying 5 to 40 % of the same key's limit past throttle.
type beside struct {
	Learning          bool    `json:"learning"`
	Calls             int64   `json:"calls"`
	Rejected          int64   `json:"rejected_429"`
	PerThousand       float64 `json:"rejected_per_1000"`
	Share             float64 `json:"share_of_what_production_left"`
	ProductionRefused int64   `json:"production_tokens_refused"`
}

func printBeside(asJSON bool, length time.Duration) error {
	var all []beside
	for _, learning := range []bool{true, false} {
		b, err := runBeside(learning, length)
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "headers\tcalls\t429\t429 in 1,000\tshare of what production left\tproduction refused, tokens")
	for _, b := range all {
		headers := "read"
		if !b.Learning {
			headers = "hidden"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\t%.3f\t%d\n", headers, b.Calls, b.Rejected, b.PerThousand, b.Share, b.ProductionRefused)
	}
	return w.Flush()
}

// deaf hides from the transport what headers say of limits.
type deaf struct{ http.RoundTripper }

func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err == nil {
		for name := range resp.Header {
			if strings.HasPrefix(name, "X-Ratelimit-") {
				delete(resp.Header, name)
			}
		}
	}
	return resp, err
}

func runBeside(learning bool, length time.Duration) (beside, error) {
	const workers = 200
	limits := provider.Limits{RequestsPerMinute: 12_000, TokensPerMinute: 400_000}
	s, err := newSite(provider.Config{
		Default: limits, Minute: minute, Count: openai.Tiktoken{}.Count,
		Latency: provider.Latency{Base: 50 * time.Millisecond, PerToken: 500 * time.Microsecond, Jitter: 0.5},
	})
	if err != nil {
		return beside{}, err
	}
	base := s.base.Transport
	if !learning {
		base = deaf{base}
	}
	transport := &openai.Transport{Limiter: s.limiter, Base: base, Hosts: []string{s.host}}
	c := sdkopenai.NewClient(
		openaioption.WithBaseURL(s.URL+"/v1"), openaioption.WithAPIKey("sk-simulated"), openaioption.WithMaxRetries(5),
		openaioption.WithHTTPClient(&http.Client{Transport: transport}),
	)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	production := make(chan error, 1)
	go func() { production <- s.Run(ctx, provider.Traffic{Model: "gpt-4o-mini", Seed: 7}) }()
	start := time.Now()
	var batch sync.WaitGroup
	var next atomic.Int64
	var failure atomic.Pointer[error]
	for range workers {
		batch.Go(func() {
			for time.Since(start) < length && failure.Load() == nil {
				_, err := c.Chat.Completions.New(ctx, sdkopenai.ChatCompletionNewParams{
					Model: sdkopenai.ChatModelGPT4oMini, MaxCompletionTokens: sdkopenai.Int(400),
					Messages: []sdkopenai.ChatCompletionMessageParamUnion{
						sdkopenai.UserMessage(fmt.Sprintf("Question %d: how far is it to the Moon?", next.Add(1))),
					},
				})
				if err != nil {
					failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	batch.Wait()
	took := time.Since(start)
	cancel()
	if err := <-production; err != nil {
		return beside{}, err
	}
	stats := s.Stats()["gpt-4o-mini"]
	if err := s.close(); err != nil {
		return beside{}, err
	}
	if err := failure.Load(); err != nil {
		return beside{}, *err
	}
	left := float64(limits.TokensPerMinute)*(1+float64(took)/float64(minute)) - float64(stats.Background.Tokens)
	return beside{
		Learning: learning, Calls: stats.Accepted, Rejected: stats.Rejected(),
		PerThousand: 1000 * float64(stats.Rejected()) / float64(stats.Accepted),
		Share:       float64(stats.Used.Tokens) / left, ProductionRefused: stats.BackgroundRefused.Tokens,
	}, nil
}
