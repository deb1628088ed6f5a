package batchfile

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
)

// Result is one line of an output file. Either Response or Error is there; where the provider answered with an error,
// that is a Response.
type Result struct {
	ID       string    `json:"id"`
	CustomID string    `json:"custom_id"`
	Response *Response `json:"response"`
	Error    *Error    `json:"error"`
}

// Response is what the provider answered.
type Response struct {
	StatusCode int             `json:"status_code"`
	RequestID  string          `json:"request_id"`
	Body       json.RawMessage `json:"body"`
}

// Error is why there is no answer.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// idPrefix begins every result's id, and resultPrefix every line that this package writes.
const (
	idPrefix     = "batch_req_"
	resultPrefix = `{"id":"` + idPrefix
)

// Failed says whether the request of this result didn't succeed.
func (r *Result) Failed() bool {
	return r.Error != nil || r.Response == nil || r.Response.StatusCode < 200 || r.Response.StatusCode > 299
}

// line encodes a result with the newline at its end, and gives it an id.
func (r *Result) line() ([]byte, error) {
	r.ID = idPrefix + strings.ToLower(rand.Text())
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("result of %.100q: %w", r.CustomID, err)
	}
	return b.Bytes(), nil
}

// parseResult reads a line of an output file, of the body only that it is there.
func parseResult(text []byte) (customID string, failed bool, err error) {
	var r struct {
		CustomID string `json:"custom_id"`
		Response *struct {
			StatusCode int `json:"status_code"`
		} `json:"response"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return "", false, err
	}
	if r.CustomID == "" {
		return "", false, fmt.Errorf("no custom_id")
	}
	ok := r.Response != nil && r.Response.StatusCode >= 200 && r.Response.StatusCode <= 299
	return r.CustomID, !ok, nil
}
