package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// dialect is Anthropic's.
type dialect struct {
	counter *Counter
	base    http.RoundTripper // asks the count-tokens endpoint; nil to count locally
}

var _ llm.Dialect = dialect{}

// messages is the endpoint that is limited, by its path below the version.
const messages = "messages"

func (dialect) Endpoint(r *http.Request) (string, bool) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	return messages, r.Method == http.MethodPost && strings.HasSuffix(path, "/"+messages)
}

func (d dialect) Count(r *http.Request, endpoint string, open llm.Opener) llm.Call {
	var e Estimate
	if open != nil {
		var err error
		e, err = countReader(open)
		if errors.Is(err, ErrBody) {
			e.Input += int(min(llm.Uncounted(r), maxNumber) / 4)
		} else if d.base != nil {
			if n, err := d.ask(r, open); err == nil {
				e.Input, e.Exact = n, true
			}
		}
	}
	return llm.Call{Endpoint: endpoint, Model: e.Model, Reserve: d.counter.Reserve(e), CountText: countText, Detail: e}
}

// countText estimates the tokens of a text of the answer.
func countText(text string) int {
	var r reader
	r.text([]byte(text))
	r.finish()
	return r.Input
}

const (
	maxAsked    = 32 << 20 // bytes of a body that are sent to be counted, what Anthropic takes
	maxAnswered = 64 << 10
)

// askable are the fields that the count-tokens endpoint takes; it refuses any other.
var askable = map[string]bool{
	"model": true, "messages": true, "system": true, "tools": true, "tool_choice": true, "thinking": true, "mcp_servers": true,
}

var errNotCounted = errors.New("anthropic: the request was not counted")

// ask has the provider count a request's input tokens.
func (d dialect) ask(r *http.Request, open llm.Opener) (int, error) {
	body, err := open()
	if err != nil {
		return 0, err
	}
	defer body.Close()
	var fields map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(body, maxAsked)).Decode(&fields); err != nil {
		return 0, err
	}
	for name := range fields {
		if !askable[name] {
			delete(fields, name)
		}
	}
	encoded, err := json.Marshal(fields)
	if err != nil {
		return 0, err
	}
	q := r.Clone(r.Context())
	q.URL.Path = strings.TrimSuffix(r.URL.Path, "/") + "/count_tokens"
	q.URL.RawPath = ""
	q.Header.Del("Content-Encoding")
	q.Header.Del("Content-Length")
	q.Body, q.ContentLength, q.GetBody = io.NopCloser(bytes.NewReader(encoded)), int64(len(encoded)), nil
	resp, err := d.base.RoundTrip(q)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		InputTokens *int `json:"input_tokens"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswered)).Decode(&answer); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK || answer.InputTokens == nil || *answer.InputTokens < 0 || *answer.InputTokens > maxNumber {
		return 0, errNotCounted
	}
	return *answer.InputTokens, nil
}

func (dialect) Fields() map[string]llm.Role { return answerFields }

// Judge goes by the status: 429 is a rate limit, 529 and the like are the provider's trouble, and an empty balance is a
// 400 or 402.
//
// Source: Anthropic's API reference, "Errors".
func (dialect) Judge(status int, h http.Header, _ llm.Reading) llm.Verdict {
	return llm.JudgeStatus(status, h)
}

// Exhausted reads it from the words: "… rate limit of 30,000 input tokens per minute …".
func (dialect) Exhausted(answer llm.Reading) string {
	switch {
	case strings.Contains(answer.ErrorText, "input tokens per minute"):
		return InputTokens
	case strings.Contains(answer.ErrorText, "output tokens per minute"):
		return OutputTokens
	case strings.Contains(answer.ErrorText, "requests per minute"):
		return Requests
	}
	return ""
}

// rounding is by how much a remainder of tokens may be below the truth: it is in thousands.
const rounding = 1000

// Limits leaves the reset away: it is in whole seconds, and all limits are a minute's.
func (dialect) Limits(h http.Header, _ time.Time) []llm.Stated {
	limits := ReadRateLimits(h)
	stated := func(resource string, l RateLimit, rounding float64) llm.Stated {
		return llm.Stated{Resource: resource, Rounding: rounding,
			Limit: llm.Limit{Limit: l.Limit, Remaining: l.Remaining, HasRemaining: l.HasRemaining}}
	}
	return []llm.Stated{
		stated(Requests, limits.Requests, 0),
		stated(InputTokens, limits.InputTokens, rounding),
		stated(OutputTokens, limits.OutputTokens, rounding),
	}
}

func (d dialect) Used(c *llm.Call, answer llm.Reading) throttle.Usage {
	e := c.Detail.(Estimate)
	if !answer.HasUsage {
		return nil
	}
	u := usageOf(answer.Usage)
	if answer.Done {
		d.counter.Learn(e, u)
	} else { // cut: the usage so far lags behind what came
		u.Output = max(u.Output, answer.Shown)
	}
	return throttle.Usage{Requests: 1, InputTokens: float64(u.Limited()), OutputTokens: float64(u.Output)}
}
