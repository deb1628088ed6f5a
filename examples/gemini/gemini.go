// Package gemini is an example: a transport for one more provider, Google's Gemini API, from throttle's public parts
// alone. docs/adding-a-provider.md goes through it.
//
// Gemini limits requests and input tokens a minute, and requests a day that ends at midnight Pacific time. It states no
// limits in headers; a refusal says in its body how long to wait.
//
// Sources: ai.google.dev/gemini-api/docs/rate-limits (limits, days) and /api/generate-content (bodies);
// google.rpc.RetryInfo (errors).
package gemini

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // Pacific time, on any machine

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// Limits are those of one model, as AI Studio shows them. A day is a calendar day in Pacific time.
type Limits struct {
	RequestsPerMinute, InputTokensPerMinute, RequestsPerDay float64
}

// Transport limits the calls of generateContent and streamGenerateContent to Host.
type Transport struct {
	Base http.RoundTripper
	Host string // "generativelanguage.googleapis.com"
	Now  func() time.Time

	minutes, days *throttle.Limiter
}

// NewTransport returns a transport whose state is in d. Every model has the same limits.
func NewTransport(d driver.Driver, limits Limits) *Transport {
	return &Transport{
		Base: http.DefaultTransport, Host: "generativelanguage.googleapis.com", Now: time.Now,
		minutes: throttle.New(d, throttle.Static(
			throttle.PerMinute("requests", limits.RequestsPerMinute).WithBurst(0.98*limits.RequestsPerMinute),
			throttle.PerMinute("tokens", limits.InputTokensPerMinute).WithBurst(0.98*limits.InputTokensPerMinute))),
		days: throttle.New(d, throttle.Static(Day("requests", limits.RequestsPerDay))),
	}
}

// Day is a quota for a key that is used on one calendar day only: what it holds at the start and what it refills in a
// day are together the limit. It refills slowly rather than not at all so that the store can forget the key, in a month.
func Day(resource string, limit float64) throttle.Quota {
	const days = 30
	burst := limit * days / (days + 1)
	return throttle.Quota{Resource: resource, Limit: burst, Per: days * 24 * time.Hour, Burst: burst}
}

var pacific = func() *time.Location {
	l, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		panic(err) // it is embedded
	}
	return l
}()

// day names the key of a model's day, and says when that day ends.
func day(model string, now time.Time) (key string, end time.Time) {
	now = now.In(pacific)
	y, m, d := now.Date()
	return model + " on " + now.Format(time.DateOnly), time.Date(y, m, d+1, 0, 0, 0, 0, pacific)
}

// ErrDayUsedUp says that the model's requests of the day are used up. The error that wraps it says when the next begins.
var ErrDayUsedUp = errors.New("the day's requests are used up")

// RoundTrip counts, acquires, sends and settles.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	model, ok := modelOf(r)
	if !ok || r.URL.Host != t.Host || r.Body == nil {
		return t.Base.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	const maxTries = 4
	for try := 1; ; try++ {
		resp, wait, err := t.try(r, model, body)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || wait == 0 || try == maxTries {
			return resp, err
		}
		_ = resp.Body.Close()
	}
}

// try sends the call once. A wait of more than 0 says that the fleet pauses and the call may be sent again.
func (t *Transport) try(r *http.Request, model string, body []byte) (*http.Response, time.Duration, error) {
	// The day first: a refusal costs nothing, and nobody should wait in line until midnight.
	key, end := day(model, t.Now())
	today, err := t.days.TryAcquire(r.Context(), key, throttle.Usage{"requests": 1})
	if errors.Is(err, throttle.ErrNoCapacity) {
		return nil, 0, fmt.Errorf("gemini: %s: %w until %v", model, ErrDayUsedUp, end)
	}
	if err != nil {
		return nil, 0, err
	}
	res, err := t.minutes.Acquire(r.Context(), model, throttle.Usage{"requests": 1, "tokens": Count(body)})
	if err != nil {
		return nil, 0, errors.Join(err, today.Cancel(r.Context()))
	}
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp, err := t.Base.RoundTrip(again)
	if err != nil { // it may have been counted
		return nil, 0, errors.Join(err, res.Settle(r.Context(), nil), today.Settle(r.Context(), nil))
	}
	if resp.StatusCode != http.StatusOK {
		wait, err := t.refused(r.Context(), resp, model)
		return resp, wait, errors.Join(err, res.Settle(r.Context(), throttle.Usage{"requests": 1, "tokens": 0}), today.Settle(r.Context(), nil))
	}
	resp.Body = &settling{ReadCloser: resp.Body, settle: func(answer []byte) error {
		return errors.Join(res.Settle(r.Context(), usage(answer)), today.Settle(r.Context(), nil))
	}}
	return resp, 0, nil
}

// modelOf reads the model from …/models/NAME:generateContent.
func modelOf(r *http.Request) (string, bool) {
	_, name, found := strings.Cut(r.URL.Path, "/models/")
	model, method, _ := strings.Cut(name, ":")
	return model, found && r.Method == http.MethodPost && (method == "generateContent" || method == "streamGenerateContent")
}

// Count estimates the input tokens of a request: four bytes of text each, as Google's guide to tokens says, and 258 for
// an image. A real package would read the parts, as package anthropic does; the API also has countTokens.
func Count(body []byte) float64 {
	images := strings.Count(string(body), `"mimeType":"image/`) + strings.Count(string(body), `"mime_type":"image/`)
	return float64(len(body))/4 + 258*float64(images)
}

// refused reads how long a 429 asks to wait, and pauses the model for everybody who uses the store. 0 means that waiting
// doesn't help: it is no rate limit, or the day's.
func (t *Transport) refused(ctx context.Context, resp *http.Response, model string) (time.Duration, error) {
	if resp.StatusCode != http.StatusTooManyRequests {
		return 0, nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(head), resp.Body}
	if err != nil {
		return 0, nil
	}
	var e struct {
		Error struct {
			Details []struct {
				RetryDelay string `json:"retryDelay"`
				Violations []struct {
					QuotaID string `json:"quotaId"`
				} `json:"violations"`
			} `json:"details"`
		} `json:"error"`
	}
	_ = json.Unmarshal(head, &e) // what isn't there is empty
	wait := time.Second
	for _, d := range e.Error.Details {
		for _, v := range d.Violations {
			if strings.Contains(v.QuotaID, "PerDay") {
				return 0, nil
			}
		}
		if delay, err := time.ParseDuration(d.RetryDelay); err == nil && delay > 0 {
			wait = min(delay, 10*time.Minute)
		}
	}
	return wait, t.minutes.Pause(context.WithoutCancel(ctx), model, wait)
}

// usage is what a call really used by its answer, or the last event of its stream: input tokens alone are limited.
func usage(answer []byte) throttle.Usage {
	i := bytes.LastIndex(answer, []byte(`"promptTokenCount"`))
	if i < 0 {
		return nil // it can't be told: what was reserved counts
	}
	_, number, _ := bytes.Cut(answer[i:], []byte(":"))
	var tokens float64
	if err := json.NewDecoder(bytes.NewReader(number)).Decode(&tokens); err != nil {
		return nil
	}
	return throttle.Usage{"requests": 1, "tokens": tokens}
}

// settling is an answer's body that settles at its end. It passes everything on as it comes and keeps the end, which
// has the usage.
type settling struct {
	io.ReadCloser
	settle func(answer []byte) error
	end    []byte
}

const kept = 16 << 10

func (s *settling) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.end = append(s.end, p[:n]...)
	if extra := len(s.end) - kept; extra > 0 {
		s.end = append(s.end[:0], s.end[extra:]...)
	}
	if err != nil {
		err = errors.Join(err, s.finish())
		if errors.Is(err, io.EOF) {
			err = io.EOF // readers compare it by identity
		}
	}
	return n, err
}

func (s *settling) Close() error { return errors.Join(s.finish(), s.ReadCloser.Close()) }

func (s *settling) finish() error {
	if s.settle == nil {
		return nil
	}
	settle := s.settle
	s.settle = nil
	return settle(s.end)
}
