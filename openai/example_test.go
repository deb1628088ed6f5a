package openai_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/openai"
)

// standIn answers like the API.
func standIn() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-ratelimit-limit-tokens", "30000")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Because of Rayleigh scattering."}}],"usage":{"prompt_tokens":13,"completion_tokens":7,"total_tokens":20}}`)
	}))
}

const question = `{"model":"gpt-4o-2024-08-06","messages":[{"role":"user","content":"Why is the sky blue?"}],"max_completion_tokens":500}`

// One line puts a client under its limits.
func Example() {
	server := standIn()
	defer server.Close()

	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 500, TPM: 30_000})
	defer lim.Close()
	client := &http.Client{Transport: &openai.Transport{
		Limiter: lim,
		Hosts:   []string{"127.0.0.1"}, // leave it out for OpenAI and Azure
		OnAnswer: func(a openai.Answer) {
			fmt.Printf("%s: reserved %v tokens, used %v\n", a.Family, a.Reserved[openai.Tokens], a.Used[openai.Tokens])
		},
	}}

	resp, err := client.Post(server.URL+"/v1/chat/completions", "application/json", strings.NewReader(question))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	// Output: gpt-4o: reserved 513 tokens, used 20
}

func ExampleCount() {
	e, err := openai.Count([]byte(question), openai.Chat)
	fmt.Println(e.Input, e.Output, err)
	// Output: 13 500 <nil>
}

func ExampleFamily() {
	for _, model := range []string{"gpt-4o-2024-08-06", "gpt-4o-mini", "ft:gpt-4o-mini-2024-07-18:acme::9aBcD", "openai/o3"} {
		fmt.Println(openai.Family(model))
	}
	// Output:
	// gpt-4o
	// gpt-4o-mini
	// gpt-4o-mini
	// o3
}

// Limits differ between models, and between calls that share them by flow and weight.
func ExampleModels() {
	models := openai.Models(map[string]openai.Limits{
		"gpt-4o":                 {RPM: 500, TPM: 30_000},
		"text-embedding-3-small": {RPM: 3_000, TPM: 1_000_000},
		openai.AnyModel:          {}, // learned from the headers
	})
	lim := throttle.New(memory.New(), models, throttle.Flow("batch", 1))
	defer lim.Close()
	tr := &openai.Transport{Limiter: lim, CallOptions: func(r *http.Request) []throttle.CallOption {
		if r.Header.Get("X-Urgent") != "" {
			return []throttle.CallOption{throttle.Flow("production", 4)}
		}
		return nil
	}}
	_ = http.Client{Transport: tr}
}

// Without the transport: count, acquire, call, settle.
func ExampleCounter_Usage() {
	lim := openai.NewLimiter(memory.New(), openai.Limits{RPM: 500, TPM: 30_000})
	defer lim.Close()
	ctx := context.Background()
	res, err := lim.AcquireFor(ctx, "gpt-4o", question, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := []byte(`{"usage":{"prompt_tokens":13,"completion_tokens":7}}`) // … the call …
	if usage, ok := openai.ReadUsage(answer); ok {
		err = res.Settle(ctx, throttle.Usage{openai.Requests: 1, openai.Tokens: float64(usage.Total())})
	}
	fmt.Println(res.Reserved()[openai.Tokens], err)
	// Output: 513 <nil>
}

func ExampleUsageReader() {
	stream := "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n" +
		"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n"
	r := openai.NewUsageReader(true)
	_, _ = io.Copy(io.Discard, io.TeeReader(strings.NewReader(stream), r))
	usage, ok := r.Usage()
	fmt.Println(usage.Input, usage.Output, ok)
	// Output: 9 1 true
}

func ExampleReadRateLimits() {
	h := http.Header{}
	h.Set("x-ratelimit-limit-tokens", "150000")
	h.Set("x-ratelimit-remaining-tokens", "149984")
	h.Set("x-ratelimit-reset-tokens", "6ms")
	fmt.Printf("%+v\n", openai.ReadRateLimits(h).Tokens)
	// Output: {Limit:150000 Remaining:149984 HasRemaining:true Reset:6ms}
}

func ExampleImageTokens() {
	fmt.Println(openai.ImageTokens("gpt-4o", openai.Image{Width: 2048, Height: 4096, Detail: "high"}))
	// Output: 1105
}

// Limits that change while the program runs come from a function.
func ExampleModelsFunc() {
	models := openai.ModelsFunc(func(family string) (openai.Limits, bool) {
		return openai.Limits{RPM: 500, TPM: 30_000}, true
	})
	m, err := models(context.Background(), "gpt-4o-2024-08-06")
	fmt.Println(m.Family, err)
	// Output: gpt-4o <nil>
}

func ExampleEncoding() {
	for _, model := range []string{"gpt-4.1", "text-embedding-3-small", "acme-gpt-4o-eu", "llama-3"} {
		name, known := openai.Encoding(model)
		fmt.Println(model, name, known)
	}
	// Output:
	// gpt-4.1 o200k_base true
	// text-embedding-3-small cl100k_base true
	// acme-gpt-4o-eu o200k_base true
	// llama-3 o200k_base false
}

// Not every 429 goes away by waiting.
func ExamplePermanent() {
	fmt.Println(openai.Permanent("insufficient_quota"), openai.Permanent("rate_limit_exceeded"))
	fmt.Println(openai.NeverFits("Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 36278."))
	// Output:
	// true false
	// true
}

func ExampleEndpointOf() {
	u, err := url.Parse("https://acme.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21")
	if err != nil {
		fmt.Println(err)
		return
	}
	endpoint, ok := openai.EndpointOf(u)
	fmt.Println(endpoint, ok)
	// Output: chat/completions true
}
