package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
	"github.com/tokenthrottle/throttle/internal/llm"
	"github.com/tokenthrottle/throttle/openai"
)

// fate is what the outcome of a try means for its request.
type fate int

const (
	final     fate = iota // there is a result, good or bad
	transient             // it may go better another time
	limited               // refused for its rate: it goes again when its turn comes
	storeDown             // the limiter's store failed: nothing was sent
	hopeless              // no request of this run can succeed
)

// verdict is a fate with its circumstances.
type verdict struct {
	fate   fate
	result batchfile.Result // of a final one, and what stands for a transient one that isn't tried again
	wait   time.Duration    // that the provider asks for
	why    string           // for people
}

// Codes of results that no response stands for.
const (
	codeTooLarge = "request_too_large"
	codeNetwork  = "network_error"
	codeAnswer   = "invalid_answer"
)

// judge judges a complete answer.
func judge(resp *http.Response, body []byte) verdict {
	status := resp.StatusCode
	v := verdict{result: batchfile.Result{Response: &batchfile.Response{
		StatusCode: status, RequestID: resp.Header.Get("X-Request-Id"), Body: oneLine(body),
	}}}
	v.wait, _ = llm.RetryAfter(resp.Header, time.Now())
	if status >= 200 && status <= 299 {
		if json.Valid(body) {
			return v
		}
		return verdict{fate: transient, why: fmt.Sprintf("status %d with an answer that is not JSON", status),
			result: failure(codeAnswer, fmt.Sprintf("the provider answered %d, but what it sent is not JSON", status))}
	}
	said := readError(body)
	v.why = fmt.Sprintf("status %d: %s", status, said.Message)
	switch {
	case status == http.StatusUnauthorized, status == http.StatusPaymentRequired, said.ofAccount():
		v.fate = hopeless
	case status == http.StatusTooManyRequests && !openai.NeverFits(said.Message):
		v.fate = limited
	case llm.JudgeStatus(status, resp.Header) == llm.Transient:
		v.fate = transient
	}
	return v
}

// oneLine is a body as a JSON value without line breaks: as it is, or as a string where it isn't JSON.
func oneLine(body []byte) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, body) == nil && b.Len() > 0 {
		return b.Bytes()
	}
	text, err := json.Marshal(strings.ToValidUTF8(string(body[:min(len(body), 10_000)]), "\uFFFD"))
	if err != nil {
		panic(err) // a string always marshals
	}
	return text
}

// providerError is what an error answer says.
type providerError struct {
	Message string `json:"message"`
	Type    string `json:"type"`
	Code    any    `json:"code"` // some servers give numbers
}

func readError(body []byte) providerError {
	var e struct {
		Error providerError `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
		e.Error.Message = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	return e.Error
}

// ofAccount says whether the account is at fault, its quota, bill or key, which no wait helps.
func (e providerError) ofAccount() bool {
	code, _ := e.Code.(string)
	return openai.Permanent(code) || openai.Permanent(e.Type) || code == "invalid_api_key" || e.Type == "invalid_api_key"
}

// judgeError judges a try that got no complete answer.
func judgeError(err error) verdict {
	var asURL *url.Error
	if errors.As(err, &asURL) {
		err = asURL.Err // without the URL, which may hold a password
	}
	var large *throttle.TooLargeError
	var store *throttle.StoreError
	var model *throttle.ModelError
	switch {
	case errors.As(err, &large):
		return verdict{fate: final, result: failure(codeTooLarge, fmt.Sprintf("needs %.0f %s at once, and the limit allows %.0f",
			large.Usage, large.Resource, large.Burst))}
	case errors.As(err, &store):
		return verdict{fate: storeDown, why: err.Error()}
	case errors.As(err, &model), errors.Is(err, throttle.ErrClosed):
		return verdict{fate: hopeless, why: err.Error()}
	}
	return verdict{fate: transient, why: err.Error(), result: failure(codeNetwork, err.Error())}
}

func failure(code, message string) batchfile.Result {
	return batchfile.Result{Error: &batchfile.Error{Code: code, Message: message}}
}
