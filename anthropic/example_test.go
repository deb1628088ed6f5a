package anthropic_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/anthropic"
	"github.com/tokenthrottle/throttle/driver/memory"
)

const question = `{"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":"Why is the sky blue?"}]}`

// One line puts a client under its limits.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"content":[{"type":"text","text":"Because of Rayleigh scattering."}],"usage":{"input_tokens":13,"output_tokens":12}}`)
	}))
	defer server.Close()

	lim := anthropic.NewLimiter(memory.New(), anthropic.Limits{RPM: 50, ITPM: 30_000, OTPM: 8_000})
	defer lim.Close()
	client := &http.Client{Transport: &anthropic.Transport{
		Limiter: lim,
		Hosts:   []string{"127.0.0.1"}, // leave it out for Anthropic
		OnAnswer: func(a anthropic.Answer) {
			fmt.Printf("%s: used %v input and %v output tokens\n", a.Family, a.Used[anthropic.InputTokens], a.Used[anthropic.OutputTokens])
		},
	}}

	resp, err := client.Post(server.URL+"/v1/messages", "application/json", strings.NewReader(question))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	// Output: claude-sonnet-4: used 13 input and 12 output tokens
}

func ExampleCount() {
	e, err := anthropic.Count([]byte(question))
	fmt.Println(e.Model, e.Input, e.MaxTokens, err)
	// Output: claude-sonnet-4-5 11 4096 <nil>
}

func ExampleFamily() {
	fmt.Println(anthropic.Family("claude-opus-4-1-20250805"), anthropic.Family("claude-3-7-sonnet-latest"))
	// Output: claude-opus-4 claude-3-7-sonnet
}

func ExampleReadUsage() {
	usage, ok := anthropic.ReadUsage([]byte(`{"usage":{"input_tokens":50,"cache_creation_input_tokens":100,"cache_read_input_tokens":200000,"output_tokens":12}}`))
	fmt.Println(usage.Limited(), usage.Output, ok)
	// Output: 150 12 true
}

// Limits differ between models; those of the transport's limiter are found by family.
func ExampleModels() {
	models := anthropic.Models(map[string]anthropic.Limits{
		"claude-sonnet-4-5": {RPM: 50, ITPM: 30_000, OTPM: 8_000},
		anthropic.AnyModel:  {}, // learned from the headers
	})
	lim := throttle.New(memory.New(), models)
	defer lim.Close()
	m, err := lim.Model(context.Background(), "claude-sonnet-4-20250514")
	fmt.Println(m.Family, len(m.Quotas), err)
	// Output: claude-sonnet-4 3 <nil>
}

// Limits that change while the program runs come from a function.
func ExampleModelsFunc() {
	models := anthropic.ModelsFunc(func(family string) (anthropic.Limits, bool) {
		return anthropic.Limits{RPM: 50, ITPM: 30_000, OTPM: 8_000}, true
	})
	m, err := models(context.Background(), "claude-opus-4-1")
	fmt.Println(m.Family, err)
	// Output: claude-opus-4 <nil>
}

// Whatever marshals to a body can be counted, such as the official SDK's parameters.
func ExampleCountValue() {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	e, err := anthropic.CountValue(map[string]any{
		"model": "claude-sonnet-4-5", "max_tokens": 4096, "messages": []message{{"user", "Why is the sky blue?"}},
	})
	fmt.Println(e.Input, e.MaxTokens, err)
	// Output: 11 4096 <nil>
}

func ExampleImageTokens() {
	fmt.Println(anthropic.ImageTokens(750, 500), anthropic.ImageTokens(0, 0)) // 0: its size isn't known
	// Output: 500 1600
}

func ExampleReadRateLimits() {
	h := http.Header{}
	h.Set("anthropic-ratelimit-input-tokens-limit", "30000")
	h.Set("anthropic-ratelimit-input-tokens-remaining", "29000")
	fmt.Printf("%+v\n", anthropic.ReadRateLimits(h).InputTokens)
}

// The usage of a streamed answer, read while the answer passes.
func ExampleUsageReader() {
	stream := "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\n" +
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n"
	r := anthropic.NewUsageReader(true)
	_, _ = io.Copy(io.Discard, io.TeeReader(strings.NewReader(stream), r))
	usage, ok := r.Usage()
	fmt.Println(usage.Limited(), usage.Output, ok)
	// Output: 11 15 true
}
