// Package workload is the work that the demonstration sends: one chat request for each package of Go's standard library,
// with the package's real documentation as its prompt.
package workload

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/tokenthrottle/throttle/openai"
)

// Model is the model that every request asks for.
const Model = "gpt-4.1-mini"

const instruction = "You write for programmers who are new to Go. Explain what the package documented below is for, " +
	"when to choose it, and show one short, complete example."

// Request is one request of the workload.
type Request struct {
	// Name is the package's import path.
	Name string `json:"name"`
	// Body is the JSON of a chat completion request.
	Body []byte `json:"body"`
	// Input is the number of the prompt's tokens, and Reserve that and the longest answer that the body allows.
	Input   int `json:"input"`
	Reserve int `json:"reserve"`

	prompt string
}

// Workload is all of it, the largest requests first.
type Workload struct {
	Requests []Request
	// Source says where the documentation comes from: a directory, or "" for the stand-in that is used where Go's
	// sources are not installed.
	Source string
	// MaxTokens is what every request allows its answer.
	MaxTokens int

	counts map[string]int
}

// Load reads the standard library's documentation and counts it. maxTokens is what every request allows its answer.
func Load(maxTokens int) (*Workload, error) {
	w := &Workload{MaxTokens: maxTokens, counts: map[string]int{}}
	packages, source := installed()
	if len(packages) == 0 {
		packages = standIns()
	}
	w.Source = source
	w.Requests = make([]Request, len(packages))
	errs := make([]error, len(packages))
	openai.Tiktoken{}.Load(Model)
	each(len(packages), func(i int) { w.Requests[i], errs[i] = newRequest(packages[i], maxTokens) })
	for i, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("workload: package %s: %w", packages[i].name, err)
		}
	}
	// The largest come first, as one packs: at the end the small ones use up what is left.
	slices.SortStableFunc(w.Requests, func(a, b Request) int { return cmp.Compare(b.Reserve, a.Reserve) })
	w.counts[instruction] = openai.Tiktoken{}.Count(Model, instruction)
	for _, r := range w.Requests {
		// What surrounds the prompt in the count is the same for all.
		w.counts[r.prompt] = r.Input - w.counts[instruction] - chatOverhead
	}
	return w, nil
}

// chatOverhead is two messages with a role each, and the reply's start.
const chatOverhead = 2*(3+1) + 3

// Short returns the requests with at most input prompt tokens, allowed answers of at most maxTokens.
func (w *Workload) Short(input, maxTokens int) ([]Request, error) {
	var list []Request
	for _, r := range w.Requests {
		if r.Input > input {
			continue
		}
		short, err := newRequest(pkg{r.Name, r.prompt}, maxTokens)
		if err != nil {
			return nil, fmt.Errorf("workload: package %s: %w", r.Name, err)
		}
		list = append(list, short)
	}
	return list, nil
}

// Count counts a text as the model does, remembering the workload's own: so that a simulated provider which counts the
// same prompts again takes no time from what is being measured.
func (w *Workload) Count(model, text string) int {
	if n, ok := w.counts[text]; ok {
		return n
	}
	return openai.Tiktoken{}.Count(model, text)
}

// Totals adds up the requests.
func (w *Workload) Totals() (t Totals) {
	for _, r := range w.Requests {
		t.Requests++
		t.Input += r.Input
		t.Reserve += r.Reserve
		t.Largest = max(t.Largest, r.Reserve)
	}
	return t
}

// Totals are the sums of a workload, in tokens.
type Totals struct {
	Requests, Input, Reserve int
	// Largest is the largest Reserve.
	Largest int
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func newRequest(p pkg, maxTokens int) (Request, error) {
	r := Request{Name: p.name, prompt: p.text}
	var err error
	r.Body, err = json.Marshal(struct {
		Model     string    `json:"model"`
		Messages  []message `json:"messages"`
		MaxTokens int       `json:"max_tokens"`
	}{Model, []message{{"system", instruction}, {"user", p.text}}, maxTokens})
	if err != nil {
		return r, err
	}
	estimate, err := openai.Count(r.Body, openai.Chat)
	r.Input, r.Reserve = estimate.Input, estimate.Input+estimate.Output
	return r, err
}

// each calls f for 0 to n-1 on as many goroutines as there are processors.
func each(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}
