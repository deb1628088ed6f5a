// Package batch runs a file of requests through an OpenAI-compatible API: as many at once as the limits allow, each
// until it has a result, with all results kept when the run is interrupted.
package batch

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/openai"
)

// Options say what to run. Fields without a default are required.
type Options struct {
	// In, Out and Rejects are paths: requests, results, and the lines that can't be run. An In of "-" is Stdin.
	In, Out, Rejects string
	// BaseURL is where the API is; the version in its path and that of a request's url are one.
	BaseURL *url.URL
	// Key is sent as a bearer token, if it isn't empty. It is never shown.
	Key string
	// Driver keeps the limiter's state.
	Driver driver.Driver
	// Limits are those of each model family, and Family, if not empty, is the one family of all models.
	Limits openai.Limits
	Family string

	// MaxInFlight bounds the requests that are held in memory.
	MaxInFlight int
	// MaxAttempts is how often a request is sent that fails where others succeed, before it counts as failed.
	MaxAttempts int
	// Backoff is the wait before a second try; it doubles up to sixty times that. A provider may ask for longer.
	Backoff time.Duration
	// GiveUp is how long the provider may give no useful answer at all before the run stops.
	GiveUp time.Duration
	// Timeout bounds one try, from its sending to the end of its answer.
	Timeout time.Duration
	// Sync is how long a result may wait for its sync to disk.
	Sync time.Duration
	// RetryFailed runs requests again that failed in an earlier run.
	RetryFailed bool

	// Base sends the requests; nil is a transport of its own.
	Base http.RoundTripper
	// Drain, when closed, ends the run after what is in flight.
	Drain <-chan struct{}
	// Started, if not nil, is called once with a function that tells how far the run is.
	Started func(now func() Snapshot)
}

// models resolves every model to the same limits.
func (o *Options) models() throttle.Models {
	models := openai.ModelsFunc(func(string) (openai.Limits, bool) { return o.Limits, true })
	return func(ctx context.Context, name string) (throttle.Model, error) {
		m, err := models(ctx, name)
		if o.Family != "" {
			m.Family = o.Family
		}
		return m, err
	}
}

// base is the default transport, with as many connections kept as there are requests.
func (o *Options) base() http.RoundTripper {
	if o.Base != nil {
		return o.Base
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns = 0
	t.MaxIdleConnsPerHost = o.MaxInFlight
	return t
}
