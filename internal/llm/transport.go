package llm

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
)

// Config is what the user of a provider's transport decides; see there for what each means.
type Config struct {
	Limiter *throttle.Limiter
	Base    http.RoundTripper
	Hosts   []string
	// HostsByDefault says that the user named none: a log tells of calls to others.
	HostsByDefault bool
	MaxRetries     int
	MaxPause       time.Duration
	Follow         Follow
	CallOptions    func(*http.Request) []throttle.CallOption
	OnAnswer       func(Answer)
}

// Defaults of a [Config].
const (
	DefaultMaxRetries = 2
	DefaultMaxPause   = 10 * time.Minute
	// maxRefusals is how often a call is sent again after a rate limit's refusal, each time when its turn has come.
	maxRefusals = 10
)

// Transport limits the calls of one provider; the provider's package wraps it.
type Transport struct {
	config  Config
	dialect Dialect
	err     error // of the config

	strangers strangers

	mu     sync.Mutex
	gauges map[string]*gauge
}

// maxGauges bounds the families that a transport learns about. Beyond them all are forgotten, and learned anew.
const maxGauges = 10_000

// NewTransport returns a Transport; base is what Config.Base is if nil.
func NewTransport(c Config, d Dialect) *Transport {
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = DefaultMaxRetries
	}
	if c.MaxPause == 0 {
		c.MaxPause = DefaultMaxPause
	}
	return &Transport{config: c, dialect: d, err: c.check(), gauges: map[string]*gauge{}}
}

// check returns a [*throttle.ArgumentError] for what can't be meant. A host that matches nothing is the worst of it: its
// requests would pass without limits.
func (c *Config) check() error {
	for _, h := range c.Hosts {
		if name := strings.TrimPrefix(h, "*."); name == "" || strings.ContainsAny(name, "*/@?# ") {
			return &throttle.ArgumentError{Argument: "Hosts", Value: h, Want: "a host alone, with a port or not, or *. and a domain"}
		}
	}
	switch {
	case c.Limiter == nil:
		return &throttle.ArgumentError{Argument: "Limiter", Value: c.Limiter, Want: "a limiter"}
	case c.MaxPause < 0:
		return &throttle.ArgumentError{Argument: "MaxPause", Value: c.MaxPause, Want: "0 for the default, or more"}
	case c.Follow > FollowNever:
		return &throttle.ArgumentError{Argument: "Follow", Value: c.Follow, Want: "FollowDown, FollowAlways or FollowNever"}
	}
	return nil
}

func (t *Transport) gauge(family string) *gauge {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.gauges[family]
	if g == nil {
		if len(t.gauges) >= maxGauges {
			t.gauges = map[string]*gauge{}
		}
		g = newGauge()
		t.gauges[family] = g
	}
	return g
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, t.err
	}
	if r.URL == nil {
		return t.config.Base.RoundTrip(r) // which says so
	}
	endpoint, limited := t.dialect.Endpoint(r)
	if !limited {
		return t.config.Base.RoundTrip(r)
	}
	if !MatchHost(r, t.config.Hosts) {
		if t.config.HostsByDefault {
			t.strangers.warn(r)
		}
		return t.config.Base.RoundTrip(r)
	}
	body, err := newRequestBody(r)
	if err != nil {
		body.close()
		return nil, err
	}
	defer body.close()
	call := t.dialect.Count(r, endpoint, body.opener())
	x := &exchange{t: t, request: r, body: body, call: &call, answer: Answer{Call: &call}}
	if x.model, err = t.config.Limiter.Model(r.Context(), call.Model); err != nil {
		return nil, err
	}
	x.gauge = t.gauge(x.model.Family)
	x.answer.Family = x.model.Family
	return x.run()
}

// MatchHost reports whether a request goes to one of the hosts: a name matches any port, "name:port" that port only, and
// "*.name" every name below.
func MatchHost(r *http.Request, hosts []string) bool {
	full, name := strings.ToLower(r.URL.Host), strings.ToLower(r.URL.Hostname())
	for _, h := range hosts {
		h = strings.ToLower(h)
		if h == full || h == name {
			return true
		}
		if suffix, wild := strings.CutPrefix(h, "*"); wild && strings.HasPrefix(suffix, ".") && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// exchange is a call on its way: as many tries as it takes.
type exchange struct {
	t       *Transport
	request *http.Request
	body    *requestBody
	call    *Call
	model   throttle.Model
	gauge   *gauge
	answer  Answer

	reservation *throttle.Reservation // of the try under way; nil once it is settled
	handed      bool                  // the answer's body settles it
	reserved    throttle.Usage
	sent        snapshot
	refusals    int
	faults      int
}

func (x *exchange) run() (*http.Response, error) {
	defer func() {
		if !x.handed { // a panic in the base transport: what is left behind counts as used, it may have been sent
			x.settle(nil)
		}
	}()
	for {
		leave, err := x.enter()
		if err != nil {
			return nil, x.fail(err)
		}
		if err := x.acquire(); err != nil {
			leave()
			return nil, x.fail(err)
		}
		resp, err := x.send()
		if err != nil {
			leave()
			return nil, x.fail(err)
		}
		x.learn(resp)
		leave()
		again, err := x.judge(resp)
		if err != nil {
			return nil, x.fail(err)
		}
		if !again {
			return resp, nil
		}
	}
}

func (x *exchange) fail(err error) error {
	x.answer.Err = err
	x.report()
	return err
}

func (x *exchange) report() {
	if x.t.config.OnAnswer != nil {
		x.t.config.OnAnswer(x.answer)
	}
}

// enter lets one call of a family go first where its limits are still to be discovered, so that not all of a crowd are
// refused at once. The returned function lets the next one pass.
func (x *exchange) enter() (leave func(), err error) {
	pass := func() {}
	if x.model.Unlimited || !undiscovered(x.model.Quotas) {
		return pass, nil
	}
	g, ctx := x.gauge, x.request.Context()
	for {
		g.mu.Lock()
		if g.known {
			g.mu.Unlock()
			return pass, nil
		}
		wait := g.probe
		if wait == nil {
			probe := make(chan struct{})
			g.probe = probe
			g.mu.Unlock()
			return func() {
				g.mu.Lock()
				g.probe = nil
				g.mu.Unlock()
				close(probe)
			}, nil
		}
		g.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return pass, ctx.Err()
		}
	}
}

func undiscovered(quotas []throttle.Quota) bool {
	for _, q := range quotas {
		if q.Limit >= Undiscovered {
			return true
		}
	}
	return false
}

// acquire waits for capacity.
func (x *exchange) acquire() error {
	x.reserved = make(throttle.Usage, len(x.call.Reserve))
	for _, q := range x.model.Quotas { // the user need not limit everything that a call uses
		if n, ok := x.call.Reserve[q.Resource]; ok {
			x.reserved[q.Resource] = n
		}
	}
	if len(x.reserved) == 0 && !x.model.Unlimited {
		x.reserved = x.call.Reserve // a resource is misspelt: the limiter says which there are, instead of letting all through
	}
	var options []throttle.CallOption
	if x.t.config.CallOptions != nil {
		options = x.t.config.CallOptions(x.request)
	}
	res, err := x.t.config.Limiter.Acquire(x.request.Context(), x.call.Model, x.reserved, options...)
	if err != nil {
		return err
	}
	x.reservation = res
	x.answer.Waited += res.Waited()
	x.gauge.used(x.reserved, 1)
	return nil
}

// send makes one try. On an error the reservation is settled.
func (x *exchange) send() (*http.Response, error) {
	body, err := x.body.next()
	if err != nil {
		x.cancel()
		return nil, err
	}
	touched, connected := false, false
	ctx := httptrace.WithClientTrace(x.request.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { touched = true },
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})
	r := x.request.WithContext(ctx)
	r.Body = body
	x.answer.Tries++
	x.sent = x.gauge.snapshot(time.Now())
	resp, err := x.t.config.Base.RoundTrip(r)
	if err == nil {
		x.answer.Status = resp.StatusCode
		return resp, nil
	}
	x.answer.Status = 0
	if touched && !connected { // it never left
		x.cancel()
	} else {
		x.settle(nil)
	}
	return nil, err
}

// settle ends the try's reservation, if it is open: used names what was really used of what was reserved, and nil is all
// of it.
func (x *exchange) settle(used throttle.Usage) {
	res := x.reservation
	if res == nil {
		return
	}
	x.reservation = nil
	x.answer.Used = used
	if used != nil {
		x.gauge.used(x.reserved, -1)
		x.gauge.used(used, 1)
	}
	if err := res.Settle(x.request.Context(), used); err != nil {
		x.answer.Err = fmt.Errorf("settling: %w", err)
	}
}

func (x *exchange) cancel() {
	res := x.reservation
	x.reservation = nil
	x.answer.Used = throttle.Usage{}
	x.gauge.used(x.reserved, -1)
	if err := res.Cancel(x.request.Context()); err != nil {
		x.answer.Err = fmt.Errorf("cancelling: %w", err)
	}
}

// refused is what a call that the server refused used: failed requests count, their tokens don't.
func (x *exchange) refused() throttle.Usage {
	used := make(throttle.Usage, len(x.reserved))
	for resource := range x.reserved {
		used[resource] = 0
	}
	if n, ok := x.reserved[Requests]; ok {
		used[Requests] = n
	}
	return used
}

// restrict leaves in used what was reserved of: what the user doesn't limit can't be settled.
func (x *exchange) restrict(used throttle.Usage) throttle.Usage {
	if used == nil {
		return nil
	}
	out := make(throttle.Usage, len(x.reserved))
	for resource := range x.reserved {
		if n, ok := used[resource]; ok {
			out[resource] = n
		}
	}
	return out
}

// learn takes the answer's word on the limits.
func (x *exchange) learn(resp *http.Response) {
	now := time.Now()
	stated := x.t.dialect.Limits(resp.Header, now)
	observations := x.gauge.observe(x.model.Quotas, x.sent, now, stated, x.t.config.Follow)
	if len(observations) > 0 {
		// An observation that fails is lost; the next answer brings another.
		_ = x.t.config.Limiter.Observe(context.WithoutCancel(x.request.Context()), x.call.Model, observations...)
	}
	x.gauge.mu.Lock()
	x.gauge.known = true
	x.gauge.mu.Unlock()
}
