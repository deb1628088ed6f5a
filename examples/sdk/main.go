// Sdk drives a simulated provider at saturation with the official SDKs, unmodified but for one line that gives them
// throttle's transport, and reports how much of the limits they used and how often they were refused.
//
//	cd examples/sdk && go run .            # a table
//	cd examples/sdk && go run . -json      # [{"client","streaming","requests","rejected_429","share_of_ideal"}…]
//	cd examples/sdk && go run . -beside    # a batch beside production traffic that passes throttle by
//
// It is a module of its own, so that programs which use throttle don't inherit the SDKs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
)

// minute is the simulated provider's: a real one would make this a matter of an hour. A burst of 98 % leaves room for
// requests that arrive 2 % of it out of step, a quarter of a second here, 1.2 seconds with a real provider.
const minute = 12 * time.Second

func main() {
	asJSON := flag.Bool("json", false, "print JSON")
	beside := flag.Bool("beside", false, "run a batch beside production traffic instead")
	seconds := flag.Int("seconds", 0, "how long each run takes, about; 0 is 20, and 60 with -beside")
	flag.Parse()
	var err error
	if *beside {
		err = printBeside(*asJSON, time.Duration(orElse(*seconds, 60))*time.Second)
	} else {
		err = printSaturated(*asJSON, time.Duration(orElse(*seconds, 20))*time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdk:", err)
		os.Exit(1)
	}
}

func orElse(n, other int) int {
	if n > 0 {
		return n
	}
	return other
}

// run is what one client did at saturation.
type run struct {
	Client    string  `json:"client"`
	Streaming bool    `json:"streaming"`
	Requests  int64   `json:"requests"`
	Rejected  int64   `json:"rejected_429"`
	Share     float64 `json:"share_of_ideal"`
}

func printSaturated(asJSON bool, length time.Duration) error {
	var runs []run
	for _, c := range clients() {
		for _, streaming := range []bool{false, true} {
			r, err := saturate(c, streaming, length)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			runs = append(runs, r)
		}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(runs)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "client\tstreaming\trequests\t429\tshare of the ideal")
	for _, r := range runs {
		fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%.3f\n", r.Client, r.Streaming, r.Requests, r.Rejected, r.Share)
	}
	return w.Flush()
}

// site is a simulated provider and a limiter with its limits.
type site struct {
	*provider.Server
	limits  provider.Limits
	limiter *throttle.Limiter
	base    *http.Client
	host    string
}

func newSite(cfg provider.Config) (*site, error) {
	server, err := provider.Start(cfg)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		return nil, err
	}
	// The packages' own limits are a real minute's; the simulated one is shorter.
	var quotas []throttle.Quota
	for resource, limit := range map[string]int64{
		"requests": cfg.Default.RequestsPerMinute, "tokens": cfg.Default.TokensPerMinute,
		"input_tokens": cfg.Default.InputTokensPerMinute, "output_tokens": cfg.Default.OutputTokensPerMinute,
	} {
		if limit > 0 {
			quotas = append(quotas, throttle.Quota{Resource: resource, Limit: float64(limit), Per: minute, Burst: 0.98 * float64(limit)})
		}
	}
	return &site{server, cfg.Default, throttle.New(memory.New(), throttle.Static(quotas...)), server.Client(), u.Host}, nil
}

func (s *site) close() error {
	s.base.CloseIdleConnections()
	if err := s.limiter.Close(); err != nil {
		return err
	}
	return s.Server.Close()
}

// workers is how many calls are under way at once: far more than the limits allow.
const workers = 100

// saturate sends as many calls as the limits allow in the given time.
func saturate(c client, streaming bool, length time.Duration) (run, error) {
	s, err := newSite(provider.Config{
		Default: c.limits, Minute: minute, Count: c.count,
		Latency: provider.Latency{Base: 30 * time.Millisecond, PerToken: 200 * time.Microsecond, Jitter: 0.5},
	})
	if err != nil {
		return run{}, err
	}
	call := c.connect(s)
	if err := call(context.Background(), "Hello!", streaming); err != nil { // opens a connection, unpacks the vocabulary
		return run{}, err
	}
	calls := int(float64(c.callsAMinute) * (1 + float64(length)/float64(minute)))
	var group sync.WaitGroup
	var failure atomic.Pointer[error]
	var next atomic.Int64
	for range workers {
		group.Go(func() {
			for i := next.Add(1); i <= int64(calls) && failure.Load() == nil; i = next.Add(1) {
				if err := call(context.Background(), fmt.Sprintf("Question %d: how far is it to the Moon, and why?", i), streaming); err != nil {
					failure.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	stats := s.Stats()[c.model]
	if err := s.close(); err != nil {
		return run{}, err
	}
	if err := failure.Load(); err != nil {
		return run{}, *err
	}
	ideal := stats.Used.Ideal(c.limits, minute).Seconds()
	return run{c.name, streaming, stats.Accepted, stats.Rejected(), ideal / stats.Span}, nil
}
