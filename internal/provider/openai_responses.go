package provider

import (
	"encoding/json"
	"net/http"
	"time"
)

// responsesRequest is the part of a request for a response that matters here.
type responsesRequest struct {
	Model           string          `json:"model"`
	Input           json.RawMessage `json:"input"`
	Instructions    *string         `json:"instructions"`
	Tools           json.RawMessage `json:"tools"`
	Text            json.RawMessage `json:"text"`
	MaxOutputTokens *int64          `json:"max_output_tokens"`
	Stream          bool            `json:"stream"`
}

func (req *responsesRequest) modelName() string { return req.Model }

// responsesPrompt counts the prompt of req like that of a chat with the same messages.
func (p *Provider) responsesPrompt(req *responsesRequest) int64 {
	count := func(text string) int64 { return int64(p.cfg.Count(req.Model, text)) }
	total := tokensForReply + count(string(req.Tools)) + count(string(req.Text))
	if req.Instructions != nil {
		total += tokensPerMessage + 1 + count(*req.Instructions)
	}
	var items []json.RawMessage
	if json.Unmarshal(req.Input, &items) != nil {
		return total + tokensPerMessage + 1 + count(flatten(req.Input))
	}
	for _, item := range items {
		total += tokensPerMessage + 1 + count(itemText(item))
	}
	return total
}

// itemText is the text of one input item: a message's content, or the item itself where it is a call or its output.
func itemText(item json.RawMessage) string {
	var message struct {
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(item, &message) == nil && len(message.Content) > 0 {
		return flatten(message.Content)
	}
	return string(item)
}

type response struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	CreatedAt          int64             `json:"created_at"`
	Status             string            `json:"status"`
	Background         bool              `json:"background"`
	Error              any               `json:"error"`
	IncompleteDetails  any               `json:"incomplete_details"`
	Instructions       *string           `json:"instructions"`
	MaxOutputTokens    *int64            `json:"max_output_tokens"`
	Model              string            `json:"model"`
	Output             []outputItem      `json:"output"`
	ParallelToolCalls  bool              `json:"parallel_tool_calls"`
	PreviousResponseID *string           `json:"previous_response_id"`
	Reasoning          reasoning         `json:"reasoning"`
	ServiceTier        string            `json:"service_tier"`
	Store              bool              `json:"store"`
	Temperature        float64           `json:"temperature"`
	Text               responseText      `json:"text"`
	ToolChoice         string            `json:"tool_choice"`
	Tools              []any             `json:"tools"`
	TopP               float64           `json:"top_p"`
	Truncation         string            `json:"truncation"`
	Usage              *responseUsage    `json:"usage"`
	User               *string           `json:"user"`
	Metadata           map[string]string `json:"metadata"`
}

type reasoning struct {
	Effort  *string `json:"effort"`
	Summary *string `json:"summary"`
}

type responseText struct {
	Format struct {
		Type string `json:"type"`
	} `json:"format"`
}

type outputItem struct {
	ID      string       `json:"id"`
	Type    string       `json:"type"`
	Status  string       `json:"status"`
	Content []outputPart `json:"content"`
	Role    string       `json:"role"`
}

type outputPart struct {
	Type        string `json:"type"`
	Annotations []any  `json:"annotations"`
	Logprobs    []any  `json:"logprobs"`
	Text        string `json:"text"`
}

type responseUsage struct {
	InputTokens        int64 `json:"input_tokens"`
	InputTokensDetails struct {
		CachedTokens int64 `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens        int64 `json:"output_tokens"`
	OutputTokensDetails struct {
		ReasoningTokens int64 `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int64 `json:"total_tokens"`
}

func (p *Provider) serveResponses(w http.ResponseWriter, r *http.Request) {
	var req responsesRequest
	x, ok := p.begin(w, r, openAI{}, &req)
	if !ok {
		return
	}
	plan, ok := x.plan(nil, req.MaxOutputTokens)
	if !ok {
		return
	}
	if len(req.Input) == 0 {
		x.invalid(http.StatusBadRequest, "input", "Missing required parameter: 'input'.")
		return
	}
	prompt := p.responsesPrompt(&req)
	if !x.enter(demand{charge: p.openAICharge(prompt, plan.most)}) {
		return
	}
	defer x.settle()
	x.used.Tokens = prompt
	a := p.compose(x.hash, plan.most, 1)
	res := x.newResponse(&req)
	if req.Stream {
		x.streamResponse(res, a, prompt)
		return
	}
	x.think(a, 1)
	x.reply(res.complete(a, prompt))
}

// newResponse is the response before it has output.
func (x *exchange) newResponse(req *responsesRequest) response {
	res := response{
		ID: "resp_" + x.id[len("req_"):], Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress",
		Instructions: req.Instructions, MaxOutputTokens: req.MaxOutputTokens, Model: req.Model, Output: []outputItem{},
		ParallelToolCalls: true, ServiceTier: "default", Store: true, Temperature: 1, ToolChoice: "auto", Tools: []any{},
		TopP: 1, Truncation: "disabled", Metadata: map[string]string{},
	}
	res.Text.Format.Type = "text"
	return res
}

// message is the output item of res with parts in it.
func (res response) message(status string, parts ...outputPart) outputItem {
	if parts == nil {
		parts = []outputPart{}
	}
	return outputItem{ID: "msg_" + res.ID[len("resp_"):], Type: "message", Status: status, Content: parts, Role: "assistant"}
}

func newPart(text string) outputPart {
	return outputPart{Type: "output_text", Annotations: []any{}, Logprobs: []any{}, Text: text}
}

// complete is res with the whole answer and its usage.
func (res response) complete(a answer, prompt int64) response {
	res.Status = "completed"
	res.Output = []outputItem{res.message("completed", newPart(a.text(0, 0, a.tokens)))}
	res.Usage = &responseUsage{InputTokens: prompt, OutputTokens: a.tokens, TotalTokens: prompt + a.tokens}
	return res
}

// responseEvent is any event of a stream; which fields it has depends on its type.
type responseEvent struct {
	Type           string      `json:"type"`
	SequenceNumber int         `json:"sequence_number"`
	Response       *response   `json:"response,omitempty"`
	ItemID         string      `json:"item_id,omitempty"`
	OutputIndex    *int        `json:"output_index,omitempty"`
	ContentIndex   *int        `json:"content_index,omitempty"`
	Item           *outputItem `json:"item,omitempty"`
	Part           *outputPart `json:"part,omitempty"`
	Delta          *string     `json:"delta,omitempty"`
	Text           *string     `json:"text,omitempty"`
	Logprobs       *[]any      `json:"logprobs,omitempty"`
}

// streamResponse sends the events of a response with one message of one part.
func (x *exchange) streamResponse(res response, a answer, prompt int64) {
	ev := x.stream()
	zero, none := 0, []any{}
	send := func(events ...responseEvent) error {
		for _, e := range events {
			e.SequenceNumber = ev.sent
			if err := ev.send(e.Type, e); err != nil {
				return err
			}
		}
		return nil
	}
	pending, empty := res.message("in_progress"), newPart("")
	err := send(
		responseEvent{Type: "response.created", Response: &res},
		responseEvent{Type: "response.in_progress", Response: &res},
		responseEvent{Type: "response.output_item.added", OutputIndex: &zero, Item: &pending},
		responseEvent{
			Type: "response.content_part.added", ItemID: pending.ID, OutputIndex: &zero, ContentIndex: &zero, Part: &empty,
		})
	if err != nil {
		return
	}
	err = x.produce(a, func(first, end int64) error {
		x.used.Tokens += end - first
		delta := a.text(0, first, end)
		if err := send(responseEvent{
			Type: "response.output_text.delta", ItemID: pending.ID, OutputIndex: &zero, ContentIndex: &zero,
			Delta: &delta, Logprobs: &none,
		}); err != nil {
			return err
		}
		return x.cutAt(a, end)
	})
	x.abortOn(err)
	x.settle()
	done := res.complete(a, prompt)
	item := done.Output[0]
	part := item.Content[0]
	// Where this fails the client has left, and there is nobody left to tell.
	_ = send(
		responseEvent{
			Type: "response.output_text.done", ItemID: item.ID, OutputIndex: &zero, ContentIndex: &zero,
			Text: &part.Text, Logprobs: &none,
		},
		responseEvent{
			Type: "response.content_part.done", ItemID: item.ID, OutputIndex: &zero, ContentIndex: &zero, Part: &part,
		},
		responseEvent{Type: "response.output_item.done", OutputIndex: &zero, Item: &item},
		responseEvent{Type: "response.completed", Response: &done})
}
