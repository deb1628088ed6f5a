package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// anthropic is the dialect of Anthropic's API.
type anthropic struct{}

func (anthropic) start(x *exchange) {
	x.w.Header().Set("Request-Id", x.id)
	x.w.Header().Set("Anthropic-Organization-Id", x.p.cfg.Organization)
}

func (anthropic) stamp(h http.Header, took time.Duration) {
	h.Set("X-Envoy-Upstream-Service-Time", strconv.FormatInt(took.Milliseconds(), 10))
}

// state sets anthropic-ratelimit-*: the reset is the time at which the meter is full, in whole seconds, and remaining
// tokens are in thousands. The documentation says "rounded to the nearest thousand"; recorded answers are rounded down
// (414 tokens used of 40,000 leave "39000"). The tokens headers add up input and output and name the earlier reset, as
// recorded answers do.
func (anthropic) state(h http.Header, views [numQuotas]view) {
	now := time.Now()
	set := func(resource string, limit, remaining int64, full time.Duration) {
		name := "Anthropic-Ratelimit-" + resource
		h.Set(name+"-Limit", strconv.FormatInt(limit, 10))
		h.Set(name+"-Remaining", strconv.FormatInt(remaining, 10))
		h.Set(name+"-Reset", now.Add(full).UTC().Format(time.RFC3339))
	}
	if v := views[requestsMinute]; v.limited {
		set("Requests", int64(v.limit), int64(v.remaining), v.full)
	}
	in, out := views[inputMinute], views[outputMinute]
	if in.limited {
		set("Input-Tokens", int64(in.limit), thousands(in.remaining), in.full)
	}
	if out.limited {
		set("Output-Tokens", int64(out.limit), thousands(out.remaining), out.full)
	}
	if in.limited && out.limited {
		set("Tokens", int64(in.limit+out.limit), thousands(in.remaining)+thousands(out.remaining), min(in.full, out.full))
	}
}

// thousands rounds down to the thousand.
func thousands(tokens float64) int64 { return int64(tokens) / 1000 * 1000 }

// anthropicError is the body of an error answer.
type anthropicError struct {
	Type      string               `json:"type"`
	Error     anthropicErrorDetail `json:"error"`
	RequestID string               `json:"request_id"`
}

type anthropicErrorDetail struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

func (anthropic) fail(x *exchange, f failure) {
	h := x.w.Header()
	switch f.kind {
	case kindServer:
		f.kind = "api_error"
	case kindOverloaded:
		f.kind = "overloaded_error"
		h.Set("X-Should-Retry", "true")
	case kindRateLimit:
		f.kind = "rate_limit_error"
		h.Set("X-Should-Retry", "true")
	case "insufficient_quota":
		// Anthropic has no such 429: an empty balance is an invalid request.
		f.status, f.kind = http.StatusBadRequest, "invalid_request_error"
		f.message = "Your credit balance is too low to access the Anthropic API. " +
			"Please go to Plans & Billing to upgrade or purchase credits."
	}
	if f.status == http.StatusRequestEntityTooLarge {
		f.kind = "request_too_large"
	}
	retryHeaders(h, f.retryAfter)
	h.Del("Retry-After-Ms") // Anthropic states whole seconds only
	anthropic{}.stamp(h, time.Since(x.begun))
	x.fail(f.status, anthropicError{"error", anthropicErrorDetail{f.kind, f.message}, x.id})
}

// refuse words a refusal as Anthropic does.
func (anthropic) refuse(x *exchange, v verdict) {
	what := map[quota]string{
		requestsMinute: "requests per minute", requestsDay: "requests per day", inputMinute: "input tokens per minute",
		outputMinute: "output tokens per minute",
	}[v.quota]
	f := failure{status: http.StatusTooManyRequests, kind: kindRateLimit, message: fmt.Sprintf(
		"This request would exceed your organization's rate limit of %s %s (org: %s, model: %s). For details, refer to: "+
			"https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce "+
			"the prompt length or the maximum tokens requested, or try again later. You may also contact sales at "+
			"https://claude.com/contact-sales to discuss your options for a rate limit increase.",
		grouped(int64(v.limit)), what, x.p.cfg.Organization, x.acct.model)}
	if !v.tooLarge {
		f.retryAfter = v.wait
	}
	anthropic{}.fail(x, f)
}

// grouped writes n with commas: 30,000.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// messagesRequest is the part of a message request that matters here.
type messagesRequest struct {
	Model     string            `json:"model"`
	MaxTokens *int64            `json:"max_tokens"`
	Messages  []messageParam    `json:"messages"`
	System    json.RawMessage   `json:"system"`
	Tools     []json.RawMessage `json:"tools"`
	Stream    bool              `json:"stream"`
}

func (req *messagesRequest) modelName() string { return req.Model }

type messageParam struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// problem is what is wrong with req, empty when nothing is.
func (req *messagesRequest) problem(needMax bool) string {
	switch {
	case req.Model == "":
		return "model: Field required"
	case len(req.Messages) == 0:
		return "messages: Field required"
	case needMax && req.MaxTokens == nil:
		return "max_tokens: Field required"
	case needMax && (*req.MaxTokens < 1 || *req.MaxTokens > 1<<40):
		return "max_tokens: Input should be greater than or equal to 1"
	}
	return ""
}

type message struct {
	Model        string         `json:"model"`
	ID           string         `json:"id"`
	Type         string         `json:"type"`
	Role         string         `json:"role"`
	Content      []contentBlock `json:"content"`
	StopReason   *string        `json:"stop_reason"`
	StopSequence *string        `json:"stop_sequence"`
	Usage        messageUsage   `json:"usage"`
}

type contentBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type messageUsage struct {
	InputTokens              int64         `json:"input_tokens"`
	CacheCreationInputTokens int64         `json:"cache_creation_input_tokens"`
	CacheReadInputTokens     int64         `json:"cache_read_input_tokens"`
	CacheCreation            cacheCreation `json:"cache_creation"`
	OutputTokens             int64         `json:"output_tokens"`
	ServiceTier              string        `json:"service_tier"`
}

type cacheCreation struct {
	FiveMinutes int64 `json:"ephemeral_5m_input_tokens"`
	OneHour     int64 `json:"ephemeral_1h_input_tokens"`
}

func (p *Provider) serveMessages(w http.ResponseWriter, r *http.Request) {
	var req messagesRequest
	x, ok := p.begin(w, r, anthropic{}, &req)
	if !ok {
		return
	}
	if problem := req.problem(true); problem != "" {
		x.invalid(http.StatusBadRequest, "", problem)
		return
	}
	segments := p.segments(&req)
	split := p.cache.look(req.Model, segments, time.Now())
	charge := Work{Requests: 1, InputTokens: split.input + split.creation}
	if !x.enter(demand{charge: charge, needOutput: true}) {
		return
	}
	defer x.settle()
	p.cache.keep(req.Model, segments, time.Now())
	x.used.InputTokens = charge.InputTokens
	a := p.compose(x.hash, *req.MaxTokens, 1)
	m := message{
		Model: req.Model, ID: "msg_" + x.id[len("req_"):], Type: "message", Role: "assistant", Content: []contentBlock{},
		Usage: split.usage(),
	}
	if req.Stream {
		x.streamMessage(m, a)
		return
	}
	err := x.produce(a, func(first, end int64) error { x.generated(end - first); return nil })
	x.abortOn(err)
	x.settle()
	end := "end_turn"
	m.Content = []contentBlock{{Type: "text", Text: a.text(0, 0, a.tokens)}}
	m.StopReason, m.Usage.OutputTokens = &end, a.tokens
	x.reply(m)
}

// generated charges output as it comes.
func (x *exchange) generated(tokens int64) {
	w := Work{OutputTokens: tokens}
	x.acct.charge(time.Now(), w)
	x.charged, x.used = x.charged.plus(w), x.used.plus(w)
}

func (p *Provider) serveCountTokens(w http.ResponseWriter, r *http.Request) {
	var req messagesRequest
	x, ok := p.begin(w, r, anthropic{}, &req)
	if !ok {
		return
	}
	if problem := req.problem(false); problem != "" {
		x.invalid(http.StatusBadRequest, "", problem)
		return
	}
	var total int64
	for _, s := range p.segments(&req) {
		total += s.tokens
	}
	x.reply(struct {
		InputTokens int64 `json:"input_tokens"`
	}{total})
}
