package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// Estimate is what a request will use, as far as its body tells.
type Estimate struct {
	// Model as the request names it, or "".
	Model string
	// Input is the number of input tokens by the local rule; see [Count].
	Input int
	// Exact says that Input is the provider's own count, from its count-tokens endpoint.
	Exact bool
	// MaxTokens is the most output that the request allows; it counts towards no limit. 0 if it doesn't say.
	MaxTokens int
	// Stream says that the answer is to come as a stream.
	Stream bool
}

// ErrBody is matched by the errors about a body that cannot be read as a request.
var ErrBody = errors.New("anthropic: the body is not a request that can be counted")

// The local rule. Anthropic publishes no vocabulary, so that a program can only estimate.
const (
	// A token is some 3.5 characters of English (Anthropic's glossary); a little less is taken, for an estimate that is
	// too high costs less than one that is too low.
	asciiPerToken = 3.3
	// Characters outside ASCII are mostly a token each.
	runesPerToken = 1
	perMessage    = 4
	// toolsOverhead is what the system prompt for tool use has (source: Anthropic's "Tool use" pricing: 346 for most
	// models).
	toolsOverhead = 346
	// A tool's call and its result each have some 25 tokens beside their text (found in the usage of recorded answers, see
	// testdata).
	perToolBlock = 25
	// An image has width·height/750 tokens, and is scaled down above some 1,600 (source: Anthropic's "Vision").
	pixelsPerToken = 750
	mostImage      = 1600
)

// Count estimates the request whose JSON body is given. Text counts a token for each 3.3 bytes of ASCII and for each other
// character, images by their dimensions, tool definitions and calls as the JSON that they are. That is within some 20 %
// for English and code; a [Transport] corrects it by what calls of the same family were really charged.
//
// Its time is linear in the body, its memory a small fraction of it. An error matches [ErrBody]; the Estimate beside it
// is what could be counted before.
func Count(body []byte) (Estimate, error) {
	return countReader(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil })
}

// CountValue counts a request in any form: a body as []byte, string or [json.RawMessage], or what marshals to one, such
// as the parameter types of the official SDK.
func CountValue(request any) (Estimate, error) {
	switch r := request.(type) {
	case []byte:
		return Count(r)
	case json.RawMessage:
		return Count(r)
	case string:
		return Count([]byte(r))
	}
	body, err := json.Marshal(request)
	if err != nil {
		return Estimate{}, fmt.Errorf("%w: a %T cannot be marshalled: %w", ErrBody, request, err)
	}
	return Count(body)
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

func countReader(open llm.Opener) (Estimate, error) {
	var r reader
	body, err := open()
	if err != nil {
		return r.Estimate, fmt.Errorf("%w: %w", ErrBody, err)
	}
	defer body.Close()
	s := llm.NewScanner(&r)
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	// The reader is hidden so that the buffer is used even where it could write itself in one piece.
	_, err = io.CopyBuffer(s, struct{ io.Reader }{body}, *buf)
	if err == nil {
		err = s.Close()
	}
	r.finish()
	if err != nil {
		return r.Estimate, fmt.Errorf("%w: %w", ErrBody, err)
	}
	return r.Estimate, nil
}

// reader walks a request's body and counts.
type reader struct {
	Estimate
	ascii, other int // bytes and characters of text
	tokens       int // of all else
	hasTools     bool
	model, kind  []byte
	data         []byte // beginning of the source being read
	dataBytes    int    // of all of it, in base64
	isImage      bool
	isDocument   bool
}

var _ llm.Visitor = (*reader)(nil)

// Enter implements [llm.Visitor]. Definitions, calls and schemas count as the JSON that they are.
func (r *reader) Enter(path []byte, _ byte) llm.Action {
	switch last(path) {
	case "tools", "input", "schema":
		return llm.Capture
	case "cache_control", "metadata", "citations":
		return llm.Skip
	}
	return llm.Walk
}

// Captured implements [llm.Visitor].
func (r *reader) Captured(path, raw []byte, _ bool) {
	var compact bytes.Buffer
	if json.Compact(&compact, raw) == nil { // the model doesn't see how it was indented
		raw = compact.Bytes()
	}
	if string(path) == "tools" {
		r.hasTools = len(raw) > len("[]")
	}
	r.text(raw)
}

// Leave implements [llm.Visitor].
func (r *reader) Leave(path []byte) {
	switch {
	case string(path) == "messages.[]":
		r.tokens += perMessage
	case bytes.HasSuffix(path, []byte("source")):
		r.endSource()
	}
}

func (r *reader) endSource() {
	switch {
	case r.isImage:
		w, h := llm.ImageSize(r.data)
		r.tokens += ImageTokens(w, h)
	case r.isDocument:
		r.tokens += (r.dataBytes*3/4 + llm.FileBytesPerToken - 1) / llm.FileBytesPerToken
	}
	r.data, r.dataBytes, r.isImage, r.isDocument = r.data[:0], 0, false, false
}

// ImageTokens returns the tokens of an image of so many pixels; if either is not above 0 it is unknown and counts as the
// largest that an image can have.
//
// Source: Anthropic's guide "Vision": width·height/750, scaled down to 1,568 pixels on the long side or some 1,600 tokens.
func ImageTokens(width, height int) int {
	if width <= 0 || height <= 0 {
		return mostImage
	}
	w, h := float64(width), float64(height)
	if long := max(w, h); long > 1568 {
		w, h = w*1568/long, h*1568/long
	}
	return int(min(math.Ceil(w*h/pixelsPerToken), mostImage))
}

// Text implements [llm.Visitor]. Every string below system and messages is text, except names of kinds, ids and data.
func (r *reader) Text(path, piece []byte, last_ bool) bool {
	if string(path) == "model" {
		if len(r.model)+len(piece) <= maxModel {
			r.model = append(r.model, piece...)
		}
		if last_ {
			r.Model = string(r.model)
		}
		return true
	}
	if !bytes.HasPrefix(path, []byte("messages")) && !bytes.HasPrefix(path, []byte("system")) {
		return false
	}
	switch last(path) {
	case "type":
		r.kind = append(r.kind, piece[:min(len(piece), maxModel-len(r.kind))]...)
		if last_ {
			if k := string(r.kind); k == "tool_use" || k == "tool_result" {
				r.tokens += perToolBlock
			}
			r.kind = r.kind[:0]
		}
		return true
	case "role", "id", "tool_use_id", "signature", "file_id", "ttl":
		return false
	case "media_type":
		r.isImage = r.isImage || bytes.HasPrefix(piece, []byte("image/"))
		r.isDocument = r.isDocument || bytes.HasPrefix(piece, []byte("application/pdf"))
		return true
	case "url":
		r.isImage = true // an image elsewhere, or a document, which is no less
		return false
	case "data":
		if bytes.HasSuffix(path, []byte("source.data")) {
			return r.source(piece)
		}
	}
	r.text(piece)
	return true
}

// source takes a piece of a source's data: base64 of an image or a document, or plain text. Which of them, the media type
// says; it stands before the data in what SDKs send, and data before it counts as a document does.
func (r *reader) source(piece []byte) bool {
	if !r.isImage && !r.isDocument && r.dataBytes == 0 && !isBase64(piece) {
		r.text(piece)
		return true
	}
	r.isDocument = r.isDocument || !r.isImage
	r.dataBytes += len(piece)
	if room := llm.MaxImageHeader - len(r.data); room > 0 {
		r.data = append(r.data, piece[:min(room, len(piece))]...)
	}
	return true
}

func isBase64(b []byte) bool {
	for _, c := range b[:min(len(b), 64)] {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=') {
			return false
		}
	}
	return len(b) > 0
}

func (r *reader) text(b []byte) {
	for _, c := range b {
		switch {
		case c < 0x80:
			r.ascii++
		case c >= 0xC0: // the first byte of a character
			r.other++
		}
	}
}

const (
	maxModel  = 512     // bytes of a model's name that are read
	maxNumber = 1 << 30 // more than any limit can be
)

// Literal implements [llm.Visitor].
func (r *reader) Literal(path, text []byte) {
	switch string(path) {
	case "stream":
		r.Stream = string(text) == "true"
	case "max_tokens":
		if f, err := strconv.ParseFloat(string(text), 64); err == nil && f > 0 {
			r.MaxTokens = int(min(f, maxNumber))
		}
	}
}

func (r *reader) finish() {
	r.endSource()
	r.Input = r.tokens + int(math.Ceil(float64(r.ascii)/asciiPerToken)) + r.other/runesPerToken
	if r.hasTools {
		r.Input += toolsOverhead
	}
}

// last is the last part of a path that is a key.
func last(path []byte) string {
	p := strings.TrimSuffix(string(path), ".[]")
	return p[strings.LastIndexByte(p, '.')+1:]
}
