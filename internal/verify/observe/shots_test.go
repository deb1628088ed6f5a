package observe

import (
	"context"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

// scene is a service at work, for pictures: a saturated key shared by a batch and production, one in debt, one paused,
// one at ease, one idle.
func scene(ctx context.Context) *throttle.Limiter {
	lim := throttle.New(memory.New(), throttle.Table(map[string]throttle.Model{
		"claude-sonnet":          {Quotas: []throttle.Quota{throttle.PerMinute("requests", 1000), throttle.PerMinute("input_tokens", 450_000), throttle.PerMinute("output_tokens", 90_000)}},
		"gpt-4.1":                {Quotas: []throttle.Quota{throttle.PerMinute("requests", 3000), throttle.PerMinute("tokens", 600_000).WithBurst(60_000), throttle.PerDay("requests", 1e6)}},
		"gpt-4.1-mini":           {Quotas: []throttle.Quota{throttle.PerMinute("requests", 5000), throttle.PerMinute("tokens", 2_000_000)}},
		"gpt-5-azure":            {Quotas: []throttle.Quota{throttle.PerMinute("requests", 120).WithBurst(20), throttle.PerMinute("tokens", 120_000).WithBurst(20_000)}},
		"text-embedding-3-small": {Quotas: []throttle.Quota{throttle.PerMinute("tokens", 1_000_000)}},
	}))
	rnd := rand.New(rand.NewPCG(1, 2))
	sizes := make(chan float64)
	go func() {
		for {
			select {
			case sizes <- 0.3 + 1.4*rnd.Float64():
			case <-ctx.Done():
				return
			}
		}
	}()
	callers := func(n int, model, flow string, priority int, took time.Duration, usage func(size float64) (reserve, used throttle.Usage)) {
		for range n {
			go func() {
				for ctx.Err() == nil {
					reserve, used := usage(<-sizes)
					r, err := lim.Acquire(ctx, model, reserve, throttle.Flow(flow, 1), throttle.Priority(priority))
					if err != nil {
						return
					}
					time.Sleep(time.Duration(<-sizes * float64(took)))
					_ = r.Settle(ctx, used)
				}
			}()
		}
	}
	tokens := func(mean float64) func(float64) (throttle.Usage, throttle.Usage) {
		return func(size float64) (throttle.Usage, throttle.Usage) {
			return throttle.Usage{"requests": 1, "tokens": mean * size}, throttle.Usage{"tokens": mean * size * (0.4 + 0.2*<-sizes)}
		}
	}
	callers(30, "gpt-4.1", "batch", 0, 800*time.Millisecond, tokens(9000))
	callers(5, "gpt-4.1", "production", 1, 900*time.Millisecond, tokens(3000))
	callers(8, "gpt-4.1-mini", "chat", 0, 700*time.Millisecond, tokens(1800))
	callers(4, "gpt-5-azure", "reports", 0, 2*time.Second, tokens(2200))
	callers(5, "claude-sonnet", "agents", 0, 2*time.Second, func(size float64) (throttle.Usage, throttle.Usage) {
		return throttle.Usage{"requests": 1, "input_tokens": 2500 * size, "output_tokens": 350}, throttle.Usage{"output_tokens": 900 * <-sizes}
	})
	return lim
}

// The pictures in docs/img are made here: make shots.
func TestScreenshots(t *testing.T) {
	b := newBrowser(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lim := scene(ctx)
	defer lim.Close()
	history := 2 * time.Second
	if os.Getenv("THROTTLE_SHOTS") != "" {
		history = time.Minute
	}
	page := throttlehttp.Handler(lim, &throttlehttp.Options{
		Title: "checkout-7d9f", Interval: 200 * time.Millisecond, History: history, Models: []string{"text-embedding-3-small"},
	})
	server := httptest.NewServer(page)
	defer server.Close()
	defer page.Close() // first: the server waits for the streams
	b.size(1280, 800)
	b.do(chromedp.Navigate(server.URL))
	b.until("the line forms", `document.querySelectorAll(".line:not([hidden]) tbody tr").length > 0`)
	b.do(chromedp.Sleep(history * 3 / 5))
	_, _ = lim.TryAcquire(ctx, "gpt-4.1", throttle.Usage{"tokens": 70_000})
	if err := lim.SetLimit(ctx, "gpt-5-azure", throttle.PerMinute("tokens", 90_000)); err != nil {
		t.Fatal(err)
	}
	if err := lim.Record(ctx, "claude-sonnet", throttle.Usage{"output_tokens": 95_000}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Sleep(history / 10))
	if err := lim.Pause(ctx, "gpt-5-azure", history/3); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Sleep(history / 5))
	b.media(scheme("light"))
	b.shot("page-light")
	light := b.text("getComputedStyle(document.body).color")
	b.media(scheme("dark"))
	b.shot("page-dark")
	if light == b.text("getComputedStyle(document.body).color") {
		t.Error("light and dark are the same picture")
	}
	b.media(scheme("light"))
	b.size(390, 844)
	b.do(chromedp.Sleep(500 * time.Millisecond))
	b.shot("page-phone")
	b.quiet()
}
