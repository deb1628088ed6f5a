package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// completionRequest is the part of a legacy completion request that matters here.
type completionRequest struct {
	Model         string `json:"model"`
	Prompt        prompt `json:"prompt"`
	MaxTokens     *int64 `json:"max_tokens"`
	N             *int64 `json:"n"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func (req *completionRequest) modelName() string { return req.Model }

// prompt is what completions and embeddings take: a text, texts, tokens, or lists of tokens.
type prompt struct {
	texts  []string
	tokens []int64 // number of tokens of each list
}

// UnmarshalJSON reads any of the four forms.
func (p *prompt) UnmarshalJSON(b []byte) error {
	*p = prompt{}
	var one string
	if json.Unmarshal(b, &one) == nil {
		p.texts = []string{one}
		return nil
	}
	if json.Unmarshal(b, &p.texts) == nil {
		return nil
	}
	p.texts = nil
	var ids []int64
	if json.Unmarshal(b, &ids) == nil {
		p.tokens = []int64{int64(len(ids))}
		return nil
	}
	var lists [][]int64
	if err := json.Unmarshal(b, &lists); err != nil {
		return err
	}
	for _, ids := range lists {
		p.tokens = append(p.tokens, int64(len(ids)))
	}
	return nil
}

// maxPrompts is the longest list of texts that OpenAI takes in one request.
const maxPrompts = 2048

// len is the number of texts or lists.
func (p prompt) len() int { return len(p.texts) + len(p.tokens) }

// count is the number of tokens in all of them.
func (p prompt) count(model string, count func(model, text string) int) int64 {
	var total int64
	for _, text := range p.texts {
		total += int64(count(model, text))
	}
	for _, n := range p.tokens {
		total += n
	}
	return total
}

type completion struct {
	chatHead
	Choices []completionChoice `json:"choices"`
	Usage   *chatUsage         `json:"usage,omitempty"`
}

type completionChoice struct {
	Text         string  `json:"text"`
	Index        int     `json:"index"`
	Logprobs     any     `json:"logprobs"`
	FinishReason *string `json:"finish_reason"`
}

// defaultCompletion is the maximum of a legacy completion that sets none, by OpenAI's reference.
const defaultCompletion = 16

func (p *Provider) serveCompletions(w http.ResponseWriter, r *http.Request) {
	var req completionRequest
	x, ok := p.begin(w, r, openAI{}, &req)
	if !ok {
		return
	}
	if req.MaxTokens == nil {
		most := int64(defaultCompletion)
		req.MaxTokens = &most
	}
	plan, ok := x.plan(req.N, req.MaxTokens)
	if !ok {
		return
	}
	if req.Prompt.len() > maxPrompts {
		x.invalid(http.StatusBadRequest, "prompt", fmt.Sprintf("Invalid 'prompt': more than %d prompts.", maxPrompts))
		return
	}
	// Each prompt of a list is answered n times.
	plan.choices *= int64(max(1, req.Prompt.len()))
	count := req.Prompt.count(req.Model, p.cfg.Count)
	if !x.enter(demand{charge: p.openAICharge(count, plan.most*plan.choices)}) {
		return
	}
	defer x.settle()
	x.used.Tokens = count
	head := chatHead{
		ID: "cmpl-" + x.id[len("req_"):], Object: "text_completion", Created: time.Now().Unix(), Model: req.Model,
		SystemFingerprint: "fp_simulated",
	}
	a := p.compose(x.hash, plan.most, plan.choices)
	usage := &chatUsage{PromptTokens: count, CompletionTokens: a.tokens * plan.choices}
	usage.TotalTokens = usage.PromptTokens + usage.CompletionTokens
	if req.Stream {
		if !req.StreamOptions.IncludeUsage {
			usage = nil
		}
		x.streamCompletion(completion{chatHead: head}, a, int(plan.choices), usage)
		return
	}
	x.think(a, plan.choices)
	stop := "stop"
	c := completion{chatHead: head, Usage: usage}
	for i := range int(plan.choices) {
		c.Choices = append(c.Choices, completionChoice{Text: a.text(i, 0, a.tokens), Index: i, FinishReason: &stop})
	}
	x.reply(c)
}

// streamCompletion sends the texts of every choice, then the finish reasons, then the usage if there is one.
func (x *exchange) streamCompletion(chunk completion, a answer, choices int, usage *chatUsage) {
	ev := x.stream()
	send := func(i int, text string, finish *string) error {
		chunk.Choices = []completionChoice{{Text: text, Index: i, FinishReason: finish}}
		return ev.send("", chunk)
	}
	err := x.produce(a, func(first, end int64) error {
		x.used.Tokens += int64(choices) * (end - first)
		for i := range choices {
			if err := send(i, a.text(i, first, end), nil); err != nil {
				return err
			}
		}
		return x.cutAt(a, end)
	})
	x.abortOn(err)
	x.settle()
	stop := "stop"
	for i := range choices {
		if send(i, "", &stop) != nil {
			return
		}
	}
	if usage != nil {
		chunk.Choices, chunk.Usage = []completionChoice{}, usage
		if ev.send("", chunk) != nil {
			return
		}
	}
	// Where this fails the client has left with everything it asked for.
	_ = ev.raw("", []byte("[DONE]"))
}
