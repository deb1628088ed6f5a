package openai

import (
	"encoding/json"
	"strconv"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// What surrounds a text in the prompt that the model reads.
//
// Source: OpenAI's cookbook, "How to count tokens with tiktoken" (messages, names, reply); the overheads of calls and
// their results are inferred from prompt_tokens that the API reported, see tool_test.go.
const (
	perMessage        = 3
	perName           = 1
	perReply          = 3
	perCall           = 3 // a function call in an assistant's message
	perFunctionResult = -2
)

// Rates by which sound and files are estimated, for which the provider publishes no rule that a client can apply.
const (
	// Sound is 10 tokens a second. Bytes a second: 16-bit samples at 24 kHz in a WAV, and a modest 64 kbit/s in an MP3, so
	// that the estimate is rather too high.
	audioTokensPerSecond = 10
	wavBytesPerSecond    = 48_000
	mp3BytesPerSecond    = 8_000
)

// legacyOutput is the max_tokens of the legacy completions API where the request has none (source: its reference).
const legacyOutput = 16

// maxText is how much of one string is collected before it is counted. Where a longer string is cut, the count may be off
// by one token.
const maxText = 64 << 10

// reader walks a request's body and counts.
type reader struct {
	Estimate
	tokenizer Tokenizer

	text []byte // of the string being read, what is not counted yet

	// Of the message being read, or of what stands outside of messages:
	message   int    // tokens
	role      string // "" if none yet
	isMessage bool   // it has a role, content or output
	tail      string // the end of its text
	hasSystem bool   // one of the messages so far instructs the model
	newline   int    // tokens that a line break after the first such message adds

	// Of the part of a message being read:
	isImage    bool
	url        []byte // beginning of the image's URL
	detail     string
	audioBytes int
	isMP3      bool
	fileBytes  int

	tools       []definition
	definitions int // tokens of tool definitions that could not be read
	choice      toolChoice
	format      int // tokens of the response format

	maxTokens, maxCompletion int // -1: not set
	n, bestOf                int
}

// toolChoice is "none", "auto" and so on, or names a function.
type toolChoice struct {
	mode string
	name string
}

func newReader(t Tokenizer, model string, e Endpoint) *reader {
	r := &reader{tokenizer: t, maxTokens: -1, maxCompletion: -1, n: 1, bestOf: 1}
	r.Model, r.Endpoint, r.Fallback = model, e, !t.Knows(model)
	return r
}

var _ llm.Visitor = (*reader)(nil)

// Enter implements [llm.Visitor]. Which objects are captured whole is decided by the path alone.
func (r *reader) Enter(path []byte, kind byte) llm.Action {
	switch string(path) {
	case "tools", "functions", "tool_choice", "function_call", "response_format", "text.format":
		return llm.Capture
	case "metadata", "logit_bias", "reasoning":
		return llm.Skip
	case "prompt":
		r.Hidden = r.Hidden || kind == '{'
	case "conversation":
		r.Hidden = true
	}
	return llm.Walk
}

// Leave implements [llm.Visitor].
func (r *reader) Leave(path []byte) {
	switch string(path) {
	case "messages.[]", "input.[]", "instructions.[]":
		r.endMessage()
	case "messages.[].content.[]", "input.[].content.[]", "input.[].output.[]", "input.[].output", "instructions.[].content.[]":
		r.endPart()
	case "messages.[].tool_calls.[]", "messages.[].function_call":
		r.message += perCall
	}
	if isVariable(path) {
		r.endPart()
	}
}

func (r *reader) endMessage() {
	r.endPart()
	if r.isMessage {
		r.message += perMessage
	}
	if r.role == "function" {
		r.message += perFunctionResult
	}
	if r.role == "system" || r.role == "developer" {
		r.seeSystem()
	}
	r.Input += r.message
	r.message, r.role, r.isMessage, r.tail = 0, "", false, ""
}

// seeSystem notes a message that instructs the model. Where there are tools, their declarations join the first one,
// after a line break.
func (r *reader) seeSystem() {
	if r.hasSystem {
		return
	}
	r.hasSystem = true
	r.newline = r.tokenizer.Count(r.Model, r.tail+"\n") - r.tokenizer.Count(r.Model, r.tail)
}

func (r *reader) endPart() {
	if r.isImage {
		img := dataURLImage(r.url)
		img.Detail = r.detail
		r.message += ImageTokens(r.Model, img)
	}
	rate := wavBytesPerSecond
	if r.isMP3 {
		rate = mp3BytesPerSecond
	}
	r.message += ceilDiv(r.audioBytes*audioTokensPerSecond, rate) + ceilDiv(r.fileBytes, llm.FileBytesPerToken)
	r.isImage, r.detail, r.url, r.audioBytes, r.fileBytes, r.isMP3 = false, "", r.url[:0], 0, 0, false
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// Text implements [llm.Visitor].
func (r *reader) Text(path, piece []byte, last bool) bool {
	switch field(path) {
	case ignored:
		return false
	case imageURL:
		r.isImage = true
		if room := llm.MaxImageHeader - len(r.url); room > 0 {
			r.url = append(r.url, piece[:min(room, len(piece))]...)
		}
		return len(r.url) < llm.MaxImageHeader
	case audioData:
		r.audioBytes += len(piece) * 3 / 4
	case fileData:
		r.fileBytes += len(piece) * 3 / 4
	case control:
		if len(r.text)+len(piece) <= maxModel {
			r.text = append(r.text, piece...)
		}
		if last {
			r.control(path, string(r.text))
			r.text = r.text[:0]
		}
	case textField:
		r.text = append(r.text, piece...)
		if !last && len(r.text) < maxText {
			return true
		}
		end := len(r.text)
		if !last {
			end = lastCut(r.text)
		}
		r.prose(path, string(r.text[:end]), last)
		r.text = append(r.text[:0], r.text[end:]...)
	}
	return true
}

// prose counts a text of the request, or a piece of a very long one.
func (r *reader) prose(path []byte, text string, last bool) {
	tokens := r.tokenizer.Count(r.Model, text)
	switch string(path) {
	case "messages.[].role", "input.[].role", "instructions.[].role":
		r.role, r.isMessage = text, true
	case "messages.[].content", "input.[].content", "input.[].output":
		r.isMessage = true
		r.tail = tailOf(text)
	case "messages.[].content.[].text", "input.[].content.[].text":
		r.tail = tailOf(text)
	case "messages.[].name":
		if last {
			tokens += perName
		}
	case "input":
		if last && r.Endpoint == Responses {
			tokens += perMessage + 1 // its role is user
		}
	case "instructions":
		if last {
			tokens += perMessage + 1 // its role is developer
			r.tail = tailOf(text)
			r.seeSystem()
		}
	case "prediction.content", "prediction.content.[].text":
		r.Prediction += tokens
		return
	}
	r.message += tokens
}

// control takes a string that decides how something else is counted.
func (r *reader) control(path []byte, text string) {
	switch string(path) {
	case "tool_choice", "function_call":
		r.choice.mode = text
		return
	case "previous_response_id", "conversation":
		r.Hidden = true
		return
	case "input.[].type":
		r.itemType(text)
		return
	}
	switch text {
	case "image_url", "input_image":
		r.isImage = true
	case "low", "high", "original":
		r.detail = text
	case "mp3":
		r.isMP3 = true
	}
}

// itemType adds what a typed input item of the responses API has beside its text.
func (r *reader) itemType(kind string) {
	switch kind {
	case "function_call", "custom_tool_call":
		r.message += perCall
		r.isMessage = true
	case "item_reference":
		r.Hidden = true
	}
}

// Literal implements [llm.Visitor].
func (r *reader) Literal(path, text []byte) {
	switch string(path) {
	case "stream":
		r.Stream = string(text) == "true"
	case "stream_options.include_usage":
		r.IncludeUsage = string(text) == "true"
	case "max_tokens":
		r.maxTokens = amount(text, -1)
	case "max_completion_tokens", "max_output_tokens":
		r.maxCompletion = amount(text, -1)
	case "n":
		r.n = amount(text, 1)
	case "best_of":
		r.bestOf = amount(text, 1)
	case "input.[]", "input.[].[]", "prompt.[]", "prompt.[].[]":
		r.Input++ // a token, given as its number
	}
}

// maxNumber is more than any limit can be, and small enough to be added and multiplied.
const maxNumber = 1 << 30

// amount reads a count from a literal; what is null, negative or no number is other.
func amount(text []byte, other int) int {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0) {
		return other
	}
	return int(min(f, maxNumber))
}

// Captured implements [llm.Visitor].
func (r *reader) Captured(path, raw []byte, whole bool) {
	switch string(path) {
	case "tools", "functions":
		var d []definition
		if !whole || json.Unmarshal(raw, &d) != nil {
			r.definitions += r.tokenizer.Count(r.Model, string(raw))
			return
		}
		r.tools = append(r.tools, d...)
	case "tool_choice", "function_call":
		var c struct {
			Name     string `json:"name"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		_ = json.Unmarshal(raw, &c) // what isn't there is empty
		r.choice.name = c.Name + c.Function.Name
	case "response_format", "text.format":
		r.format += r.countFormat(raw)
	}
}

// countFormat counts a response format: only one with a schema adds to the prompt.
func (r *reader) countFormat(raw []byte) int {
	type named struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"schema"`
	}
	var f struct {
		named
		JSONSchema named `json:"json_schema"`
	}
	if json.Unmarshal(raw, &f) != nil {
		return r.tokenizer.Count(r.Model, string(raw))
	}
	if f.JSONSchema.Schema != nil {
		f.named = f.JSONSchema
	}
	if f.Schema == nil {
		return 0
	}
	return r.tokenizer.Count(r.Model, f.Name+f.Description+compact(f.Schema))
}

// finish adds up what depends on the whole request.
func (r *reader) finish() {
	r.endMessage()
	r.Input += r.format + r.definitions + r.countTools()
	if r.Endpoint == Chat || r.Endpoint == Responses {
		r.Input += perReply
	}
	r.Choices = max(1, r.n, r.bestOf)
	budget := r.maxTokens
	if r.maxCompletion >= 0 {
		budget = r.maxCompletion
	}
	switch r.Endpoint {
	case Embeddings, Moderations:
		budget, r.OutputSet = 0, true
	case Completions:
		if budget < 0 {
			budget = legacyOutput
		}
	}
	if budget >= 0 {
		r.OutputSet = true
		r.Output = min(budget*min(r.Choices, maxNumber), maxNumber)
	}
}

func (r *reader) countTools() int {
	text := declare(r.tools)
	if text == "" {
		return 0
	}
	n := r.tokenizer.Count(r.Model, text) + toolsOverhead
	if r.hasSystem {
		n += toolsSystemSaving + r.newline
	}
	switch {
	case r.choice.name != "":
		n += toolChoiceFunction + r.tokenizer.Count(r.Model, r.choice.name)
	case r.choice.mode == "none":
		n += toolChoiceNone
	}
	return n
}
