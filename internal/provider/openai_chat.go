package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// chatRequest is the part of a chat completion request that matters here.
type chatRequest struct {
	Model               string          `json:"model"`
	Messages            []chatMessage   `json:"messages"`
	Tools               json.RawMessage `json:"tools"`
	Functions           json.RawMessage `json:"functions"`
	ResponseFormat      json.RawMessage `json:"response_format"`
	MaxTokens           *int64          `json:"max_tokens"`
	MaxCompletionTokens *int64          `json:"max_completion_tokens"`
	N                   *int64          `json:"n"`
	Stream              bool            `json:"stream"`
	StreamOptions       struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

func (req *chatRequest) modelName() string { return req.Model }

type chatMessage struct {
	Role      string          `json:"role"`
	Name      string          `json:"name"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

// Tokens a chat prompt has beyond its texts (OpenAI's guide to counting tokens): each message, each name, the reply.
const (
	tokensPerMessage = 3
	tokensPerName    = 1
	tokensForReply   = 3
)

// chatPrompt counts the prompt of req.
func (p *Provider) chatPrompt(req *chatRequest) int64 {
	count := func(text string) int64 { return int64(p.cfg.Count(req.Model, text)) }
	total := int64(tokensForReply)
	for _, m := range req.Messages {
		total += tokensPerMessage + 1 + count(flatten(m.Content)) + count(string(m.ToolCalls))
		if m.Name != "" {
			total += tokensPerName + count(m.Name)
		}
	}
	return total + count(string(req.Tools)) + count(string(req.Functions)) + count(string(req.ResponseFormat))
}

// chatUsage is what a chat or completion answer reports.
type chatUsage struct {
	PromptTokens            int64          `json:"prompt_tokens"`
	CompletionTokens        int64          `json:"completion_tokens"`
	TotalTokens             int64          `json:"total_tokens"`
	PromptTokensDetails     *promptDetails `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *outputDetails `json:"completion_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
	AudioTokens  int64 `json:"audio_tokens"`
}

type outputDetails struct {
	ReasoningTokens          int64 `json:"reasoning_tokens"`
	AudioTokens              int64 `json:"audio_tokens"`
	AcceptedPredictionTokens int64 `json:"accepted_prediction_tokens"`
	RejectedPredictionTokens int64 `json:"rejected_prediction_tokens"`
}

func newChatUsage(prompt, completion int64) chatUsage {
	return chatUsage{prompt, completion, prompt + completion, &promptDetails{}, &outputDetails{}}
}

// chatHead is what a completion and each of its chunks start with.
type chatHead struct {
	ID                string `json:"id"`
	Object            string `json:"object"`
	Created           int64  `json:"created"`
	Model             string `json:"model"`
	ServiceTier       string `json:"service_tier,omitempty"`
	SystemFingerprint string `json:"system_fingerprint"`
}

type chatCompletion struct {
	chatHead
	Choices []chatChoice `json:"choices"`
	Usage   chatUsage    `json:"usage"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      chatContent `json:"message"`
	Logprobs     any         `json:"logprobs"`
	FinishReason string      `json:"finish_reason"`
}

type chatContent struct {
	Role        string  `json:"role"`
	Content     string  `json:"content"`
	Refusal     *string `json:"refusal"`
	Annotations []any   `json:"annotations"`
}

type chatChunk struct {
	chatHead
	Choices []chatChunkChoice `json:"choices"`
}

// chatChunkWithUsage is a chunk of a stream whose request asked for usage: null in each but the last.
type chatChunkWithUsage struct {
	chatChunk
	Usage *chatUsage `json:"usage"`
}

type chatChunkChoice struct {
	Index        int       `json:"index"`
	Delta        chatDelta `json:"delta"`
	Logprobs     any       `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

type chatDelta struct {
	Role    string          `json:"role,omitempty"`
	Content *string         `json:"content,omitempty"`
	Refusal json.RawMessage `json:"refusal,omitempty"`
}

// maxChoices is the largest n that OpenAI takes.
const maxChoices = 128

func (p *Provider) serveChat(w http.ResponseWriter, r *http.Request) {
	var req chatRequest
	x, ok := p.begin(w, r, openAI{}, &req)
	if !ok {
		return
	}
	plan, ok := x.plan(req.N, req.MaxCompletionTokens, req.MaxTokens)
	if !ok {
		return
	}
	if len(req.Messages) == 0 {
		x.invalid(http.StatusBadRequest, "messages", "Missing required parameter: 'messages'.")
		return
	}
	prompt := p.chatPrompt(&req)
	if !x.enter(demand{charge: p.openAICharge(prompt, plan.most*plan.choices)}) {
		return
	}
	defer x.settle()
	x.used.Tokens = prompt
	head := chatHead{
		ID: "chatcmpl-" + x.id[len("req_"):], Object: "chat.completion", Created: time.Now().Unix(), Model: req.Model,
		ServiceTier: "default", SystemFingerprint: "fp_simulated",
	}
	a := p.compose(x.hash, plan.most, plan.choices)
	if req.Stream {
		x.streamChat(head, a, plan.choices, prompt, req.StreamOptions.IncludeUsage)
		return
	}
	x.think(a, plan.choices)
	c := chatCompletion{chatHead: head, Usage: newChatUsage(prompt, a.tokens*plan.choices)}
	for i := range int(plan.choices) {
		content := chatContent{Role: "assistant", Content: a.text(i, 0, a.tokens), Annotations: []any{}}
		c.Choices = append(c.Choices, chatChoice{Index: i, Message: content, FinishReason: "stop"})
	}
	x.reply(c)
}

// plan is how much answer a request allows.
type plan struct{ most, choices int64 }

// plan checks what all of OpenAI's generating endpoints have in common.
func (x *exchange) plan(n *int64, limits ...*int64) (plan, bool) {
	if x.acct == nil {
		x.invalid(http.StatusBadRequest, "model", "you must provide a model parameter")
		return plan{}, false
	}
	most, ok := x.p.most(limits...)
	if !ok {
		x.invalid(http.StatusBadRequest, "max_tokens", fmt.Sprintf("Invalid maximum of output tokens: %d.", most))
		return plan{}, false
	}
	choices := int64(1)
	if n != nil {
		choices = *n
	}
	if choices < 1 || choices > maxChoices {
		x.invalid(http.StatusBadRequest, "n", fmt.Sprintf("Invalid 'n': %d is not between 1 and %d.", choices, maxChoices))
		return plan{}, false
	}
	return plan{most, choices}, true
}

// think generates a whole answer before anything is sent, and settles.
func (x *exchange) think(a answer, choices int64) {
	err := x.produce(a, func(first, end int64) error {
		x.used.Tokens += choices * (end - first)
		return nil
	})
	x.abortOn(err)
	x.settle()
}

// streamChat sends the chunks of a completion: one with the role, the texts, one with the finish reason, and, where
// usage was asked for, one with no choices.
func (x *exchange) streamChat(head chatHead, a answer, choices, prompt int64, includeUsage bool) {
	head.Object = "chat.completion.chunk"
	ev := x.stream()
	send := func(choices []chatChunkChoice, usage *chatUsage) error {
		if chunk := (chatChunk{head, choices}); !includeUsage {
			return ev.send("", chunk)
		} else {
			return ev.send("", chatChunkWithUsage{chunk, usage})
		}
	}
	each := func(choice func(i int) chatChunkChoice) error {
		for i := range int(choices) {
			if err := send([]chatChunkChoice{choice(i)}, nil); err != nil {
				return err
			}
		}
		return nil
	}
	opened := false
	err := x.produce(a, func(first, end int64) error {
		if !opened {
			opened = true
			if err := each(func(i int) chatChunkChoice {
				return chatChunkChoice{Index: i, Delta: chatDelta{"assistant", new(string), json.RawMessage("null")}}
			}); err != nil {
				return err
			}
		}
		x.used.Tokens += choices * (end - first)
		if err := each(func(i int) chatChunkChoice {
			text := a.text(i, first, end)
			return chatChunkChoice{Index: i, Delta: chatDelta{Content: &text}}
		}); err != nil {
			return err
		}
		return x.cutAt(a, end)
	})
	x.abortOn(err)
	x.settle()
	stop := "stop"
	err = each(func(i int) chatChunkChoice { return chatChunkChoice{Index: i, FinishReason: &stop} })
	if err == nil && includeUsage {
		usage := newChatUsage(prompt, choices*a.tokens)
		err = send([]chatChunkChoice{}, &usage)
	}
	if err == nil {
		// Where this fails the client has left with everything it asked for.
		_ = ev.raw("", []byte("[DONE]"))
	}
}
