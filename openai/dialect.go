package openai

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// dialect is OpenAI's.
type dialect struct{ counter *Counter }

var _ llm.Dialect = dialect{}

func (dialect) Endpoint(r *http.Request) (string, bool) {
	if r.Method != http.MethodPost {
		return "", false
	}
	e, ok := EndpointOf(r.URL)
	return string(e), ok
}

// bytesPerToken guesses at what can't be counted.
const bytesPerToken = 4

func (d dialect) Count(r *http.Request, endpoint string, open llm.Opener) llm.Call {
	e := Estimate{Endpoint: Endpoint(endpoint), Choices: 1}
	deployment := deploymentOf(r)
	if open != nil {
		var err error
		e, err = d.counter.countReader(open, Endpoint(endpoint), deployment)
		if errors.Is(err, ErrBody) {
			e.Input += int(min(llm.Uncounted(r), maxNumber)) / bytesPerToken
		}
	}
	c := llm.Call{Endpoint: endpoint, Model: e.Model, Detail: e}
	if deployment != "" {
		c.Model = deployment // Azure limits each deployment by itself
	}
	c.Reserve = throttle.Usage{Requests: 1, Tokens: float64(d.counter.Reserve(e))}
	c.CountText = func(text string) int { return d.counter.tokenizer().Count(e.Model, text) }
	return c
}

// deploymentOf returns the deployment that the path of an Azure request names, or "".
func deploymentOf(r *http.Request) string {
	_, rest, found := strings.Cut(r.URL.Path, "/openai/deployments/")
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func (dialect) Fields() map[string]llm.Role { return answerFields }

func (dialect) Judge(status int, h http.Header, answer llm.Reading) llm.Verdict {
	return judge(status, h, answer)
}

// Exhausted takes the error's type, which is the resource: "tokens", "requests".
func (dialect) Exhausted(answer llm.Reading) string {
	if answer.ErrorType == Requests || answer.ErrorType == Tokens {
		return answer.ErrorType
	}
	return ""
}

func (dialect) Limits(h http.Header, _ time.Time) []llm.Stated {
	limits := ReadRateLimits(h)
	tokens := limits.Tokens
	if p := limits.ProjectTokens; p.HasRemaining && (!tokens.HasRemaining || p.Remaining < tokens.Remaining) {
		tokens = p
	}
	return []llm.Stated{
		{Resource: Requests, Limit: llm.Limit(limits.Requests)},
		{Resource: Tokens, Limit: llm.Limit(tokens)},
	}
}

func (d dialect) Used(c *llm.Call, answer llm.Reading) throttle.Usage {
	e := c.Detail.(Estimate)
	if answer.HasUsage {
		u := usageOf(answer.Usage)
		if answer.Done {
			d.counter.Learn(e, u)
		}
		if answer.Stream && !answer.Done { // cut: the usage so far may lag behind what came
			u.Output = max(u.Output, answer.Shown)
		}
		return throttle.Usage{Requests: 1, Tokens: float64(u.Total())}
	}
	if !answer.Stream && !answer.Done || answer.Stream && reasons(e.Model) {
		return nil // what was generated can't be told
	}
	return throttle.Usage{Requests: 1, Tokens: float64(e.Input + answer.Shown)}
}

// reasons reports whether a model generates tokens that its stream doesn't show.
func reasons(model string) bool {
	family := Family(model)
	for _, prefix := range []string{"o1", "o3", "o4", "gpt-5", "codex-", "gpt-oss", "deepseek-reasoner"} {
		if strings.HasPrefix(family, prefix) {
			return true
		}
	}
	return false
}
