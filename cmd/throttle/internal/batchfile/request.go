package batchfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/tokenthrottle/throttle/openai"
)

// Request is one line of an input file.
type Request struct {
	CustomID string          `json:"custom_id"`
	Method   string          `json:"method"`
	URL      string          `json:"url"`
	Body     json.RawMessage `json:"body"`
}

// Reject says why a line can't be run, in the form of the entries of a batch's errors.
type Reject struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Param   *string `json:"param"`
	Line    int     `json:"line"`
}

func (r *Reject) Error() string { return fmt.Sprintf("line %d: %s: %s", r.Line, r.Code, r.Message) }

// Codes of rejects.
const (
	CodeJSON      = "invalid_json_line"
	CodeTooLong   = "line_too_long"
	CodeMissing   = "missing_required_parameter"
	CodeMethod    = "invalid_method"
	CodeURL       = "invalid_url"
	CodeStream    = "invalid_request"
	CodeDuplicate = "duplicate_custom_id"
)

// ParseRequest reads the request on a line, or returns a [*Reject].
func ParseRequest(line Line) (Request, error) {
	var r Request
	reject := func(code, param, format string, args ...any) (Request, error) {
		rj := &Reject{Code: code, Message: fmt.Sprintf(format, args...), Line: line.Number}
		if param != "" {
			rj.Param = &param
		}
		return r, rj
	}
	if err := json.Unmarshal(line.Text, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return reject(CodeJSON, wrong.Field, "%s is a %s", wrong.Field, wrong.Value)
		}
		return reject(CodeJSON, "", "not a JSON object: %v", err)
	}
	switch {
	case r.CustomID == "":
		return reject(CodeMissing, "custom_id", "custom_id is missing")
	case r.Method != "POST":
		return reject(CodeMethod, "method", "custom_id %.100q: method is %.20q: only POST can be run", r.CustomID, r.Method)
	case len(r.Body) == 0 || r.Body[0] != '{':
		return reject(CodeMissing, "body", "custom_id %.100q: body is not an object", r.CustomID)
	}
	// A path, nothing else: the key is for the host that the user named.
	u, err := url.Parse(r.URL)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(r.URL, "/") || strings.HasPrefix(r.URL, "//") {
		return reject(CodeURL, "url", "custom_id %.100q: url is %.100q: want a path such as /v1/chat/completions", r.CustomID, r.URL)
	}
	if _, ok := openai.EndpointOf(u); !ok {
		return reject(CodeURL, "url", "custom_id %.100q: url is %.100q: want chat/completions, responses, embeddings, completions or moderations",
			r.CustomID, r.URL)
	}
	if streams(r.Body) {
		return reject(CodeStream, "body.stream", "custom_id %.100q: a batch's answers are not streamed: leave stream out", r.CustomID)
	}
	return r, nil
}

// streams says whether a body asks for a stream.
func streams(body []byte) bool {
	if !bytes.Contains(body, []byte(`"stream"`)) {
		return false
	}
	var b struct {
		Stream bool `json:"stream"`
	}
	return json.Unmarshal(body, &b) == nil && b.Stream
}
