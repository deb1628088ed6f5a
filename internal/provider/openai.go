package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// openAI is the dialect of OpenAI and the servers compatible with it.
type openAI struct{}

func (openAI) start(x *exchange) {
	h := x.w.Header()
	h.Set("X-Request-Id", x.id)
	h.Set("Openai-Version", "2020-10-01")
	h.Set("Openai-Organization", x.p.cfg.Organization)
}

func (openAI) stamp(h http.Header, took time.Duration) {
	h.Set("Openai-Processing-Ms", strconv.FormatInt(took.Milliseconds(), 10))
}

// state sets x-ratelimit-*. One set of headers stands for the limits of a minute and of a day: the one with less left
// is shown, as OpenAI does for accounts with daily limits. The reset is the time until the meter is full, in Go's
// notation of durations.
func (openAI) state(h http.Header, views [numQuotas]view) {
	for _, pair := range [][2]quota{{requestsMinute, requestsDay}, {tokensMinute, tokensDay}} {
		v, day := views[pair[0]], views[pair[1]]
		if day.limited && (!v.limited || day.remaining < v.remaining) {
			v = day
		}
		if !v.limited {
			continue
		}
		resource := pair[0].resource()
		h.Set("X-Ratelimit-Limit-"+resource, strconv.FormatInt(int64(v.limit), 10))
		h.Set("X-Ratelimit-Remaining-"+resource, strconv.FormatInt(int64(v.remaining), 10))
		h.Set("X-Ratelimit-Reset-"+resource, roundUp(v.full).String())
	}
}

// openAIError is the body of an error answer.
type openAIError struct {
	Error openAIErrorDetail `json:"error"`
}

type openAIErrorDetail struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (openAI) fail(x *exchange, f failure) {
	switch f.kind {
	case kindRateLimit:
		f.kind = "requests"
	case kindServer, kindOverloaded:
		f.kind = "server_error"
	case "authentication_error":
		f.kind = "invalid_request_error"
	}
	retryHeaders(x.w.Header(), f.retryAfter)
	openAI{}.stamp(x.w.Header(), time.Since(x.begun))
	x.fail(f.status, openAIError{openAIErrorDetail{f.message, f.kind, nullable(f.param), nullable(f.code)}})
}

// fail sends an error answer, which no fault spoils.
func (x *exchange) fail(status int, body any) {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(x.w).Encode(body)
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// refuse words a refusal as OpenAI does; the numbers in it are what a client may learn from.
func (openAI) refuse(x *exchange, v verdict) {
	f := failure{status: http.StatusTooManyRequests, kind: v.quota.resource(), code: "rate_limit_exceeded"}
	where := fmt.Sprintf("for %s in organization %s on %s: Limit %d, ",
		x.acct.model, x.p.cfg.Organization, openAIQuota(v.quota), int64(v.limit))
	const visit = " Visit https://platform.openai.com/account/rate-limits to learn more."
	if v.tooLarge {
		f.message = fmt.Sprintf("Request too large %sRequested %d. The input or output tokens must be reduced in order to "+
			"run successfully.", where, int64(v.asked)) + visit
	} else {
		f.retryAfter = v.wait
		f.message = fmt.Sprintf("Rate limit reached %sUsed %d, Requested %d. Please try again in %s.",
			where, int64(v.used), int64(v.asked), roundUp(v.wait)) + visit
	}
	openAI{}.fail(x, f)
}

// openAIQuota is how OpenAI's refusals name a limit.
func openAIQuota(q quota) string {
	switch q {
	case requestsMinute:
		return "requests per min (RPM)"
	case requestsDay:
		return "requests per day (RPD)"
	case tokensDay:
		return "tokens per day (TPD)"
	default:
		return "tokens per min (TPM)"
	}
}

func (p *Provider) serveUnknown(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, api: openAI{}, w: w, r: r, id: p.requestID(), begun: time.Now()}
	x.api.start(x)
	x.invalid(http.StatusNotFound, "", fmt.Sprintf("Invalid URL (%s %s)", r.Method, r.URL.Path))
}

// openAICharge is what a request is charged at arrival for prompt tokens and an answer of at most most tokens.
func (p *Provider) openAICharge(prompt, most int64) Work {
	if p.cfg.Estimate == EstimateMax {
		return Work{Requests: 1, Tokens: max(prompt, most)}
	}
	return Work{Requests: 1, Tokens: prompt + most}
}

// most is the first maximum set, or the default. ok is false where one is negative.
func (p *Provider) most(limits ...*int64) (most int64, ok bool) {
	for _, l := range limits {
		if l != nil {
			return *l, *l >= 1 && *l <= 1<<40
		}
	}
	return p.cfg.Output.DefaultMax, true
}

// openAIModel is one entry of GET /v1/models.
type openAIModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (p *Provider) serveModels(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, api: openAI{}, w: w, r: r, id: p.requestID(), begun: time.Now()}
	x.api.start(x)
	list := struct {
		Object string        `json:"object"`
		Data   []openAIModel `json:"data"`
	}{"list", []openAIModel{}}
	for _, model := range p.modelNames() {
		list.Data = append(list.Data, openAIModel{model, "model", modelCreated, "system"})
	}
	x.reply(list)
}

// modelCreated is a creation time for every model: 1 January 2025.
const modelCreated = 1735689600
