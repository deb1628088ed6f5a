package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Endpoint is an API of the provider, by its path below the version: "chat/completions".
type Endpoint string

// The endpoints whose requests use tokens that can be counted.
const (
	// Guess tells the endpoint from the fields of the body: "messages" is chat, "prompt" legacy completions, "input"
	// embeddings where the model's name says so, else responses.
	Guess       Endpoint = ""
	Chat        Endpoint = "chat/completions"
	Responses   Endpoint = "responses"
	Embeddings  Endpoint = "embeddings"
	Completions Endpoint = "completions"
	Moderations Endpoint = "moderations"
)

// EndpointOf returns the endpoint that a URL's path names, whatever stands before it ("/v1", an Azure deployment, a
// gateway's prefix), and false for any other path.
func EndpointOf(u *url.URL) (Endpoint, bool) {
	if u == nil {
		return "", false
	}
	path := strings.TrimSuffix(u.Path, "/")
	for _, e := range []Endpoint{Chat, Responses, Embeddings, Completions, Moderations} { // chat before completions
		if rest, found := strings.CutSuffix(path, string(e)); found && strings.HasSuffix(rest, "/") {
			return e, true
		}
	}
	return "", false
}

// Estimate is what a request will use, as far as its body tells.
type Estimate struct {
	// Model as the request names it, or "".
	Model string
	// Endpoint that was counted for.
	Endpoint Endpoint
	// Input tokens.
	Input int
	// Output is the most output tokens that the request allows, for all its choices together; 0 if OutputSet is false.
	Output int
	// OutputSet reports whether the request limits its output. Where it doesn't, the limiter reserves what the model's
	// family really used before.
	OutputSet bool
	// Choices is how many answers are generated: n, or best_of where it is larger. At least 1.
	Choices int
	// Prediction is the number of tokens of a predicted output. Those of them that the model rejects are charged as
	// output, on top of what it writes.
	Prediction int
	// Stream and IncludeUsage report whether the answer comes as a stream and whether its usage comes with it.
	Stream, IncludeUsage bool
	// Hidden reports that the request refers to input which lies at the provider and can't be counted here: a stored
	// prompt, a conversation, a previous response.
	Hidden bool
	// Fallback reports that the vocabulary of the model is not known and another was counted with.
	Fallback bool
}

// ErrBody is matched by the errors about a body that cannot be read as a request.
var ErrBody = errors.New("openai: the body is not a request that can be counted")

// Counter counts requests, and learns what calls use that don't say. The zero value counts with [Tiktoken] and has
// learned nothing. It is safe for concurrent use, must not be copied after its first use, and never keeps or logs what it
// reads.
type Counter struct {
	// Tokenizer to count text with; nil is [Tiktoken].
	Tokenizer Tokenizer
	// OnUnknownModel, if not nil, is called at each request whose model's vocabulary is not known.
	OnUnknownModel func(model string)

	once   sync.Once
	memory learned
}

// Count counts the request whose body is given with the default tokenizer; see [Counter.Count].
func Count(body []byte, e Endpoint) (Estimate, error) { return new(Counter).Count(body, e) }

// Count counts the request whose JSON body is given. Its time is linear in the body, its memory a small fraction of it.
//
// An error matches [ErrBody]; the Estimate beside it is what could be counted before, and is good enough to reserve:
// whether the body is a good request is for the provider to say.
func (c *Counter) Count(body []byte, e Endpoint) (Estimate, error) {
	return c.CountReader(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }, e)
}

// CountValue counts a request in any form: a body as []byte, string or [json.RawMessage], or what marshals to one, such
// as the parameter types of the official SDK.
func (c *Counter) CountValue(request any, e Endpoint) (Estimate, error) {
	switch r := request.(type) {
	case []byte:
		return c.Count(r, e)
	case json.RawMessage:
		return c.Count(r, e)
	case string:
		return c.Count([]byte(r), e)
	}
	body, err := json.Marshal(request)
	if err != nil {
		return Estimate{Endpoint: e, Choices: 1}, fmt.Errorf("%w: a %T cannot be marshalled: %w", ErrBody, request, err)
	}
	return c.Count(body, e)
}

// CountReader counts a request whose body may be large: open is called twice (the model's name may stand at the body's
// end, and text cannot be counted without it), each reader is read to its end and closed, and memory does not grow with
// the body.
func (c *Counter) CountReader(open func() (io.ReadCloser, error), e Endpoint) (Estimate, error) {
	if open == nil {
		return Estimate{}, fmt.Errorf("%w: there is nothing to open", ErrBody)
	}
	return c.countReader(open, e, "")
}

// countReader counts; a model is counted as known by another name where the body doesn't name it, or names one whose
// vocabulary isn't known.
func (c *Counter) countReader(open func() (io.ReadCloser, error), e Endpoint, alias string) (Estimate, error) {
	outline := outline{endpoint: e}
	_ = scan(open, &outline) // what is wrong with the body, the second reading tells
	model := outline.model
	if alias != "" && (model == "" || !c.tokenizer().Knows(model) && c.tokenizer().Knows(alias)) {
		model = alias
	}
	r := newReader(c.tokenizer(), model, outline.guess())
	err := scan(open, r)
	r.finish()
	if r.Fallback && c.OnUnknownModel != nil {
		c.OnUnknownModel(r.Model)
	}
	return r.Estimate, err
}

func (c *Counter) tokenizer() Tokenizer {
	if c.Tokenizer == nil {
		return Tiktoken{}
	}
	return c.Tokenizer
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// scan reads a body through a visitor.
func scan(open func() (io.ReadCloser, error), v llm.Visitor) error {
	body, err := open()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	defer body.Close()
	s := llm.NewScanner(v)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// The reader is hidden so that the buffer is used even where it could write itself in one piece.
	if _, err := io.CopyBuffer(s, struct{ io.Reader }{body}, *buf); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	return nil
}

// outline finds the model and, from the fields that are there, the endpoint.
type outline struct {
	endpoint                Endpoint
	model                   string
	modelBuf                []byte
	messages, prompt, input bool
}

func (o *outline) see(path []byte) {
	switch string(path) {
	case "messages":
		o.messages = true
	case "prompt":
		o.prompt = true
	case "input":
		o.input = true
	}
}

func (o *outline) Enter(path []byte, kind byte) llm.Action {
	if len(path) == 0 {
		return llm.Walk
	}
	if string(path) != "prompt" || kind == '[' { // an object is the reference to a stored prompt of a response
		o.see(path)
	}
	return llm.Skip
}

func (o *outline) Text(path, piece []byte, last bool) bool {
	if string(path) != "model" {
		o.see(path)
		return false
	}
	if len(o.modelBuf)+len(piece) <= maxModel {
		o.modelBuf = append(o.modelBuf, piece...)
	}
	if last {
		o.model = string(o.modelBuf)
	}
	return true
}

const maxModel = 512 // bytes of a model's name that are read

func (o *outline) Leave([]byte)                 {}
func (o *outline) Literal(_, _ []byte)          {}
func (o *outline) Captured(_, _ []byte, _ bool) {}
func (o *outline) guess() Endpoint {
	switch {
	case o.endpoint != Guess:
		return o.endpoint
	case o.messages:
		return Chat
	case o.prompt:
		return Completions
	case o.input && strings.Contains(o.model, "embedding"):
		return Embeddings
	case o.input && strings.Contains(o.model, "moderation"):
		return Moderations
	}
	return Responses
}
