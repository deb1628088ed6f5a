package anthropic_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

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
