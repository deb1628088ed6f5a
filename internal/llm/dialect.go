package llm

import (
	"io"
	"net/http"
	"time"

	"github.com/tokenthrottle/throttle"
)

// Requests is the resource that a call uses one unit of, with every provider.
const Requests = "requests"

// Opener gives a reader of a request's body, from its beginning; it can be called again.
type Opener func() (io.ReadCloser, error)

// Dialect is what differs between providers. Its methods are safe for concurrent use.
type Dialect interface {
	// Endpoint names the call that a request makes, or says that it is none that is limited.
	Endpoint(r *http.Request) (string, bool)
	// Count works out what a call will use. It never fails: what cannot be counted is guessed, for whether it is a good
	// request is for the server to say. open is nil where the request has no body.
	Count(r *http.Request, endpoint string, open Opener) Call
	// Fields are the fields of an answer.
	Fields() map[string]Role
	// Judge decides what an answer that isn't a success means.
	Judge(status int, h http.Header, answer Reading) Verdict
	// Exhausted names the resource that a rate limit's refusal is about, "" if it doesn't say.
	Exhausted(answer Reading) string
	// Limits reads what the headers say of limits. now is the client's clock.
	Limits(h http.Header, now time.Time) []Stated
	// Used is what a call really used, by what its answer says; nil if that can't be told, and everything that was
	// reserved counts. It is called once for each call that was answered with success, so that the dialect can learn.
	Used(c *Call, answer Reading) throttle.Usage
}

// Call is a request that will be limited.
type Call struct {
	Endpoint string
	Model    string
	// Reserve is what is reserved for it.
	Reserve throttle.Usage
	// CountText counts the tokens of the answer's text.
	CountText func(text string) int
	// Detail is the dialect's own.
	Detail any
}

// Stated is what a server says of one resource.
type Stated struct {
	Resource string
	Limit
	// Rounding is by how much Remaining may be below the truth, in units.
	Rounding float64
}

// Answer tells of a call that has come to its end.
type Answer struct {
	Call   *Call
	Family string
	// Status is the HTTP status of the last try, 0 if there was no answer.
	Status int
	// Tries is how often the request was sent.
	Tries int
	// Waited is how long it waited for capacity, all tries together.
	Waited time.Duration
	// Used is what was settled; nil if what was reserved counts as used.
	Used    throttle.Usage
	Reading Reading
	// Complete says that the answer was read to its end.
	Complete bool
	// Err is why there was no answer, or why it could not be settled.
	Err error
}
