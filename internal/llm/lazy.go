package llm

import (
	"net/http"
	"sync"
)

// Lazy is a [Transport] made at its first use, by when the user has set the fields it is made from. The zero value is
// ready, and it is safe for concurrent use.
type Lazy struct {
	once      sync.Once
	transport *Transport
}

// RoundTrip sends r through the Transport, which the first call has made.
func (l *Lazy) RoundTrip(r *http.Request, make func() *Transport) (*http.Response, error) {
	l.once.Do(func() { l.transport = make() })
	return l.transport.RoundTrip(r)
}

// CloseIdleConnections closes those of base, where it has any; nil is [http.DefaultTransport].
func CloseIdleConnections(base http.RoundTripper) {
	if c, ok := BaseOf(base).(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// BaseOf is the transport that nil stands for, or base.
func BaseOf(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		return http.DefaultTransport
	}
	return base
}

// NewFor is [NewTransport] for a provider's own transport: where the user names no hosts they are defaults, and onAnswer,
// if it isn't nil, is told of calls in the provider's own words.
func NewFor[A any](c Config, defaults []string, onAnswer func(A), of func(Answer) A, d Dialect) *Transport {
	if c.Hosts == nil {
		c.Hosts, c.HostsByDefault = defaults, true
	}
	if onAnswer != nil {
		c.OnAnswer = func(a Answer) { onAnswer(of(a)) }
	}
	return NewTransport(c, d)
}
