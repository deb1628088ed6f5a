package openai

import (
	"cmp"
	"net/http"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/llm"
)

// DefaultHosts are the hosts whose requests a [Transport] limits if it isn't told others: OpenAI's and Azure's.
var DefaultHosts = []string{
	"api.openai.com", "*.api.openai.com", "*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com",
}

// Transport is an [http.RoundTripper] that keeps the calls of any client that uses it under its limiter's quotas: the
// official SDK, another one, or plain net/http. It counts a request, waits for its tokens, sends it, and settles with the
// usage that the answer or the stream reports.
//
//	client := &http.Client{Transport: &openai.Transport{Limiter: lim}} // for the SDK: option.WithHTTPClient(client)
//
// It limits POST requests to chat/completions, responses, embeddings, completions and moderations on its Hosts, and
// passes all others on untouched. It never changes a request and never looks at its Authorization header; the answer
// passes through as it comes, nothing is held back.
//
// # Answers
//
// From the headers it learns what others use of the same limits (a remainder lowers a level and never raises it), and
// what the limits are. A 429 pauses the model's family for the time that Retry-After states, for the whole fleet that
// shares the limiter's store, and the call is sent again when its turn comes. 408, 409, 500 and above are sent again
// after a short wait of this call alone. What can't be helped by sending again is handed over at once: a quota or bill
// that is used up, a request larger than the limit.
//
// # Limits of what it can do
//
// A call that is cut off before its usage is known is settled by the text that came; where that tells nothing (an answer
// that is no stream, a reasoning model's stream without stream_options.include_usage), all that was reserved counts as
// used. An answer whose body is neither read to its end nor closed is never settled. A request without GetBody (a body
// that isn't a bytes or strings reader) is kept in memory up to 1 MiB; a longer one is counted by that much and its
// length, and isn't sent a second time. Calls over WebSockets are not limited.
//
// The zero Transport but for its Limiter is ready; its fields must not be changed once it is used. It is safe for
// concurrent use.
type Transport struct {
	// Limiter grants the calls; required. Its models must have quotas of [Requests], [Tokens] or both, as those of
	// [NewLimiter] and [Models] have. A request that no quota can ever hold fails with a *throttle.TooLargeError.
	Limiter *throttle.Limiter
	// Base sends the requests; nil is [http.DefaultTransport].
	Base http.RoundTripper
	// Hosts are the hosts whose requests are limited: "api.example.com" (any port), "localhost:8000", "*.example.com"
	// (every host below it). nil is [DefaultHosts]; calls of this API to other hosts pass without limits, and are then logged
	// as a warning, once for each host.
	Hosts []string
	// Counter counts the requests; nil is [DefaultCounter].
	Counter *Counter
	// MaxRetries is how often a call is sent again after a fault of the server (408, 409, 500 and above); 0 is 2, as in
	// the official SDK, which retries on top of it unless told otherwise; negative is never. After a rate limit's 429 a
	// call is sent again up to ten times, or until its context ends.
	MaxRetries int
	// MaxPause caps how long a 429 may pause a family, whatever it asks for; 0 is 10 minutes. When the pause ends, the next
	// call finds out whether the provider has changed its mind.
	MaxPause time.Duration
	// Follow says whose limits count where the user's and the headers' differ; the zero value is [FollowDown].
	Follow Follow
	// CallOptions, if not nil, gives the options for a request's acquire, such as its flow or priority.
	CallOptions func(*http.Request) []throttle.CallOption
	// OnAnswer, if not nil, is called when a call has come to its end: on the goroutine that made the request, or reads
	// the answer's body. It must not block.
	OnAnswer func(Answer)

	lazy llm.Lazy
}

// Follow says whose limits count: the user's, or those that the provider states in its headers. A limit that the user
// left to be discovered is always the provider's.
type Follow = llm.Follow

const (
	// FollowDown takes a stated limit that is lower than the user's, and lets it rise again up to the user's: a limit
	// that is given on purpose below the provider's is never exceeded.
	FollowDown = llm.FollowDown
	// FollowAlways takes every stated limit.
	FollowAlways = llm.FollowAlways
	// FollowNever keeps the user's.
	FollowNever = llm.FollowNever
)

// Answer tells of a call that has come to its end.
type Answer struct {
	// Model is as the request named it (on Azure the deployment), Family what it is limited as.
	Model, Family string
	// Estimate is what was counted before the call was sent.
	Estimate Estimate
	// Reserved is what was acquired for it, Used what it was settled with; a nil Used means that all of it counts.
	Reserved, Used throttle.Usage
	// Usage is what the answer reported, if HasUsage.
	Usage    Usage
	HasUsage bool
	// Status is the HTTP status of the last try, 0 if there was no answer; Tries is how often it was sent, 0 if it never
	// was.
	Status, Tries int
	// Waited is how long it waited for capacity, all tries together.
	Waited time.Duration
	// Complete says that the answer was read to its end.
	Complete bool
	// Err is why there was no answer, or why it could not be settled.
	Err error
}

var _ http.RoundTripper = (*Transport)(nil)

// RoundTrip implements [http.RoundTripper]. Errors are those of the limiter's Acquire and of Base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.lazy.RoundTrip(r, t.make)
}

// CloseIdleConnections closes those of Base, for [http.Client.CloseIdleConnections].
func (t *Transport) CloseIdleConnections() { llm.CloseIdleConnections(t.Base) }

func (t *Transport) make() *llm.Transport {
	return llm.NewFor(llm.Config{
		Limiter: t.Limiter, Base: t.Base, Hosts: t.Hosts, MaxRetries: t.MaxRetries, MaxPause: t.MaxPause,
		Follow: t.Follow, CallOptions: t.CallOptions,
	}, DefaultHosts, t.OnAnswer, answerOf, dialect{cmp.Or(t.Counter, DefaultCounter)})
}

func answerOf(a llm.Answer) Answer { return Answer(llm.ReportOf[Estimate](a, usageOf)) }
