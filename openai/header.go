package openai

import (
	"net/http"
	"time"

	"github.com/tokenthrottle/throttle/internal/llm"
)

// RateLimit is what an answer's headers say about one limit.
type RateLimit struct {
	// Limit is how much the period allows; 0 if the headers don't say.
	Limit float64
	// Remaining is how much of it is left; it is only known if HasRemaining is set.
	Remaining    float64
	HasRemaining bool
	// Reset is how long it takes until all of it is left again, which is not how long to wait before a retry; 0 if
	// unknown, at most 24 hours.
	Reset time.Duration
}

// RateLimits is what an answer's headers say about the limits of the model that answered.
type RateLimits struct {
	Requests, Tokens RateLimit
	// ProjectTokens is a limit of the project where it has one beside the organization's.
	ProjectTokens RateLimit
}

// ReadRateLimits reads the x-ratelimit-limit-*, x-ratelimit-remaining-* and x-ratelimit-reset-* headers. What is missing,
// negative or not a number is unknown, and so is a remainder without a limit above 0: servers that have no limit state
// -1 or 0.
//
// Source: OpenAI's API reference ("Debugging requests") and its rate limits guide.
func ReadRateLimits(h http.Header) RateLimits {
	return RateLimits{
		Requests:      readRateLimit(h, "requests"),
		Tokens:        readRateLimit(h, "tokens"),
		ProjectTokens: readRateLimit(h, "project-tokens"),
	}
}

func readRateLimit(h http.Header, resource string) RateLimit {
	l := RateLimit(llm.ReadLimit(h, "x-ratelimit-limit-"+resource, "x-ratelimit-remaining-"+resource))
	l.Reset = llm.ParseReset(h.Get("x-ratelimit-reset-" + resource))
	return l
}
