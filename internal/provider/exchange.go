package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxBody is the largest request body read, in bytes.
const maxBody = 64 << 20

// dialect is how an API states errors and limits.
type dialect interface {
	// start sets the headers that every answer has.
	start(x *exchange)
	// fail answers with an error.
	fail(x *exchange, e failure)
	// refuse answers a request that v refused.
	refuse(x *exchange, v verdict)
	// stamp sets the headers that say how long an answer took, just before it is sent.
	stamp(h http.Header, took time.Duration)
	// state sets the headers that describe the limits.
	state(h http.Header, views [numQuotas]view)
}

// failure is an error before a dialect words it.
type failure struct {
	status     int
	kind       string // the API's type
	code       string // OpenAI's code, empty for null
	param      string // OpenAI's param, empty for null
	message    string
	retryAfter time.Duration // zero for none
}

// exchange is one request and its answer.
type exchange struct {
	p     *Provider
	api   dialect
	w     http.ResponseWriter
	r     *http.Request
	id    string
	begun time.Time

	hash  uint64 // of what the request asks
	fault Fault

	acct    *account // nil until the model is known
	charged Work     // what the meters hold for this request until it is settled
	used    Work     // what it has really used so far
	open    bool     // admitted and not settled
}

// request is the body of a request.
type request interface{ modelName() string }

// begin reads and checks the request into req. Where it reports false the answer has been given.
func (p *Provider) begin(w http.ResponseWriter, r *http.Request, api dialect, req request) (*exchange, bool) {
	x := &exchange{p: p, api: api, w: w, r: r, id: p.requestID(), begun: time.Now()}
	api.start(x)
	if !p.authorized(r) {
		api.fail(x, failure{status: http.StatusUnauthorized, kind: "authentication_error", code: "invalid_api_key",
			message: "Incorrect API key provided."})
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status, message := http.StatusBadRequest, "The body could not be read: "+err.Error()
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			status, message = http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than %d bytes.", maxBody)
		}
		x.invalid(status, "", message)
		return nil, false
	}
	if err := json.Unmarshal(body, req); err != nil {
		x.invalid(http.StatusBadRequest, "", "We could not parse the JSON body of your request: "+err.Error())
		return nil, false
	}
	x.hash = hashOfRequest(body)
	if model := req.modelName(); model != "" {
		x.acct = p.account(model)
	}
	return x, true
}

func (p *Provider) authorized(r *http.Request) bool {
	key := p.cfg.APIKey
	return key == "" || r.Header.Get("X-Api-Key") == key || r.Header.Get("Authorization") == "Bearer "+key
}

// invalid answers that the request is wrong.
func (x *exchange) invalid(status int, param, message string) {
	if x.acct != nil {
		x.acct.count(func(t *tally) { t.stats.Invalid++ })
	}
	x.api.fail(x, failure{status: status, kind: "invalid_request_error", param: param, message: message})
}

// demand is what a request asks for.
type demand struct {
	charge     Work // at arrival
	needOutput bool
}

// enter asks for admission. Where it reports false the answer has been given; where true the caller must defer settle.
func (x *exchange) enter(d demand) bool {
	fault, ok := x.p.fault(x.r.Header.Get(SimulateHeader), x.hash)
	if !ok {
		x.invalid(http.StatusBadRequest, "", fmt.Sprintf("Header %s is %q: use one of %v or %q.",
			SimulateHeader, x.r.Header.Get(SimulateHeader), known, FaultNone))
		return false
	}
	x.fault = fault
	if fault != FaultNone {
		x.acct.count(func(t *tally) { t.stats.Faults[fault]++ })
	}
	if f, failed := fault.failure(x.p.cfg.Faults); failed {
		x.api.state(x.w.Header(), x.acct.views(time.Now()))
		x.api.fail(x, f)
		return false
	}
	v := x.acct.admit(time.Now(), admission{
		charge:      d.charge,
		needOutput:  d.needOutput,
		tolerance:   x.p.cfg.Tolerance,
		chargeLoss:  x.p.cfg.ChargeRefused,
		fingerprint: fingerprint{id: x.callerID(), body: x.hash},
	})
	x.api.state(x.w.Header(), v.views)
	if !v.admitted {
		x.api.refuse(x, v)
		return false
	}
	x.charged, x.open = d.charge, true
	x.used = Work{Requests: d.charge.Requests}
	return true
}

// callerID tells one logical request from another, as far as the caller does.
func (x *exchange) callerID() uint64 {
	for _, name := range []string{"X-Client-Request-Id", "Idempotency-Key"} {
		if id := x.r.Header.Get(name); id != "" {
			return hashOf([]byte(id))
		}
	}
	return hashOf([]byte(x.id))
}

// settle corrects the charge to what was used. It may be called again and then does nothing.
func (x *exchange) settle() {
	if !x.open {
		return
	}
	x.open = false
	if x.r.Context().Err() != nil { // first: who sees nothing in flight sees what became of it
		x.acct.count(func(t *tally) { t.stats.Canceled++ })
	}
	x.acct.correct(time.Now(), x.charged, x.used)
}

// count changes the account's statistics.
func (a *account) count(f func(*tally)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.tally)
}

// produce runs a as a model would: it waits for the first token, then calls emit for each chunk of tokens first to end,
// from all choices at once, after the time they take. It stops early when emit fails or the client goes away.
func (x *exchange) produce(a answer, emit func(first, end int64) error) error {
	ctx := x.r.Context()
	wait := a.base
	if x.fault == FaultSlow {
		wait += x.p.cfg.Faults.SlowBy
	}
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	chunk := int64(x.p.cfg.Output.Chunk)
	for first := int64(0); first < a.tokens; first += chunk {
		end := min(first+chunk, a.tokens)
		if err := sleep(ctx, time.Duration(end-first)*a.perToken); err != nil {
			return err
		}
		if err := emit(first, end); err != nil {
			return err
		}
	}
	return nil
}

// errCut ends an answer in the middle, by order of a fault.
var errCut = errors.New("provider: connection cut")

// reply sends a complete JSON answer, unless a fault spoils it.
func (x *exchange) reply(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("provider: an answer of type %T can't be encoded: %v", v, err)) // a bug in this package
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	x.api.stamp(h, time.Since(x.begun))
	switch x.fault {
	case FaultMalformed:
		body = append(bytes.TrimSuffix(body, []byte("}")), `,"malformed`...)
	case FaultCut:
		h.Set("Content-Length", strconv.Itoa(len(body)))
		x.write(body[:len(body)/2])
		x.abortOn(errCut)
	}
	x.write(body)
}

// write sends b. A client that has gone away shows in the request's context.
func (x *exchange) write(b []byte) { _, _ = x.w.Write(b) }

// abortOn ends an answer that stopped early: cut by a fault, or because the client left or the server closes. Closing the
// connection is the only way to tell that from a complete answer.
func (x *exchange) abortOn(err error) {
	if err == nil {
		return
	}
	x.settle()
	if errors.Is(err, errCut) {
		_ = http.NewResponseController(x.w).Flush() // what was written must arrive, if anybody is there
	}
	panic(http.ErrAbortHandler)
}

// failure is the error a fault answers with, false for faults that spoil an accepted request instead.
func (f Fault) failure(cfg Faults) (failure, bool) {
	switch f {
	case FaultRateLimit:
		return failure{status: http.StatusTooManyRequests, kind: kindRateLimit, code: "rate_limit_exceeded",
			message:    "Rate limit reached (simulated). Please try again in " + roundUp(cfg.RetryAfter).String() + ".",
			retryAfter: cfg.RetryAfter}, true
	case FaultQuota:
		return failure{status: http.StatusTooManyRequests, kind: "insufficient_quota", code: "insufficient_quota",
			message: "You exceeded your current quota, please check your plan and billing details. For more information " +
				"on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."}, true
	case FaultInternal:
		return failure{status: http.StatusInternalServerError, kind: kindServer,
			message: "The server had an error while processing your request. Sorry about that!"}, true
	case FaultUnavailable:
		return failure{status: http.StatusServiceUnavailable, kind: kindServer,
			message: "The engine is currently overloaded, please try again later"}, true
	case FaultOverloaded:
		return failure{status: statusOverloaded, kind: kindOverloaded, message: "Overloaded"}, true
	}
	return failure{}, false
}

// statusOverloaded is Anthropic's own status for overload; net/http has no name for it.
const statusOverloaded = 529

// Kinds that each dialect names its own way.
const (
	kindRateLimit  = "rate limit"
	kindServer     = "server"
	kindOverloaded = "overloaded"
)

// roundUp rounds to the millisecond, never down: a client that waits this long is not early.
func roundUp(d time.Duration) time.Duration {
	const ms = time.Millisecond
	if d > math.MaxInt64-ms {
		return d.Truncate(ms)
	}
	return (d + ms - 1).Truncate(ms)
}

// retryHeaders states a wait in whole seconds and in milliseconds, both rounded up.
func retryHeaders(h http.Header, wait time.Duration) {
	if wait <= 0 {
		return
	}
	ms := roundUp(wait).Milliseconds()
	h.Set("Retry-After", strconv.FormatInt((ms+999)/1000, 10))
	h.Set("Retry-After-Ms", strconv.FormatInt(ms, 10))
}

// flatten is the text of a JSON value that is a string or a list of parts with texts in them.
func flatten(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Text    string          `json:"text"`
		Refusal string          `json:"refusal"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, part := range parts {
		b.WriteString(part.Text)
		b.WriteString(part.Refusal)
		if len(part.Content) > 0 {
			b.WriteString(flatten(part.Content))
		}
	}
	return b.String()
}
