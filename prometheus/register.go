package throttleprom

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// Options configures what is exported; nil and the zero value mean the defaults, and so does a number below 0.
type Options struct {
	// MaxFamilies bounds how many families get series of their own; 100 by default. The counts of the others go to the
	// family "other", their levels aren't exported.
	MaxFamilies int
	// Flows are the flows that get a flow label of their own, in the counts; all others have "other". Without any there
	// is no such label. Name a few, such as batch and production, never one a tenant: each multiplies the series.
	Flows []string
	// Models are models whose families are exported from the start. The families of other models are exported once they
	// are used.
	Models []string
	// ListedOnly exports the levels of the families of Models alone.
	ListedOnly bool
}

func (o *Options) orDefault() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.MaxFamilies <= 0 {
		out.MaxFamilies = tally.DefaultMaxFamilies
	}
	return out
}

// Register exports a limiter to reg: what its calls do from now on, and what its store holds. The error is a
// [*RegisteredError], another one of reg's, or a [*throttle.ArgumentError] where there is no registry or limiter; then
// nothing is registered.
func Register(reg prometheus.Registerer, lim *throttle.Limiter, o *Options) error {
	if lim == nil {
		return &throttle.ArgumentError{Argument: "limiter", Want: "a limiter"}
	}
	collector := NewCollector(lim, o)
	if err := register(reg, collector); err != nil {
		return err
	}
	hooks, err := NewHooks(reg, o)
	if err != nil {
		reg.Unregister(collector)
		return err
	}
	lim.Watch(hooks)
	return nil
}

// NewHooks returns hooks that count, and registers the counts with reg. They may be given to several limiters, with
// [throttle.WithHooks] or [throttle.Limiter.Watch]; then the counts add up. The errors are Register's.
func NewHooks(reg prometheus.Registerer, o *Options) (*throttle.Hooks, error) {
	opt := o.orDefault()
	c := newCounts(tally.New(tally.Options{MaxFamilies: opt.MaxFamilies, Flows: opt.Flows}))
	if err := register(reg, c); err != nil {
		return nil, err
	}
	return c.tally.Hooks(), nil
}

func register(reg prometheus.Registerer, c prometheus.Collector) error {
	if reg == nil {
		return &throttle.ArgumentError{Argument: "registry", Want: "a registry, such as prometheus.DefaultRegisterer"}
	}
	err := reg.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		return &RegisteredError{twice}
	}
	return err
}

// RegisteredError says that a registry has a limiter's metrics already.
type RegisteredError struct {
	Err prometheus.AlreadyRegisteredError
}

func (e *RegisteredError) Error() string {
	return "throttleprom: this registry has a limiter's metrics already: give each limiter a label of its own with prometheus.WrapRegistererWith"
}

// Unwrap returns the registry's error.
func (e *RegisteredError) Unwrap() error { return e.Err }
