package throttleotel

import (
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// scope is the name of the instrumentation.
const scope = "github.com/tokenthrottle/throttle/otel"

// Options configures what is exported; nil and the zero value mean the defaults, and so does a number below 0.
type Options struct {
	// MeterProvider is where instruments come from; nil means the global one.
	MeterProvider metric.MeterProvider
	// MaxFamilies bounds how many families get series of their own; 100 by default. The counts of the others go to the
	// family "other", their levels aren't exported.
	MaxFamilies int
	// Flows are the flows that get a throttle.flow attribute of their own, in the counts; all others have "other". Without
	// any there is no such attribute. Name a few, such as batch and production, never one a tenant.
	Flows []string
	// Models are models whose families are exported from the start. The families of other models are exported once they
	// are used.
	Models []string
	// ListedOnly exports the levels of the families of Models alone.
	ListedOnly bool
	// NoSpans leaves traces alone: no spans, no events.
	NoSpans bool
}

func (o *Options) orDefault() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.MaxFamilies <= 0 {
		out.MaxFamilies = tally.DefaultMaxFamilies
	}
	if out.MeterProvider == nil {
		out.MeterProvider = otel.GetMeterProvider()
	}
	return out
}

// Register exports a limiter: what its calls do from now on, and what its store holds, until stop is called. Errors are
// the meter's, or a [*throttle.ArgumentError] where there is no limiter.
func Register(lim *throttle.Limiter, o *Options) (stop func() error, err error) {
	if lim == nil {
		return nil, &throttle.ArgumentError{Argument: "limiter", Want: "a limiter"}
	}
	opt := o.orDefault()
	hooks, uncount, err := newHooks(opt)
	if err != nil {
		return nil, err
	}
	unlevel, err := exportLevels(lim, opt)
	if err != nil {
		return nil, errors.Join(err, uncount())
	}
	unwatch := lim.Watch(hooks)
	return func() error {
		unwatch()
		return errors.Join(unlevel(), uncount())
	}, nil
}

// NewHooks returns hooks that count and make spans. They may be given to several limiters, with [throttle.WithHooks] or
// [throttle.Limiter.Watch]; then the counts add up. Errors are the meter's.
func NewHooks(o *Options) (*throttle.Hooks, error) {
	hooks, _, err := newHooks(o.orDefault())
	return hooks, err
}

func newHooks(opt Options) (hooks *throttle.Hooks, stop func() error, err error) {
	meter := opt.MeterProvider.Meter(scope)
	count := tally.New(tally.Options{MaxFamilies: opt.MaxFamilies, Flows: opt.Flows})
	stop, err = exportCounts(meter, count)
	if err != nil {
		return nil, nil, err
	}
	durations, err := durationHooks(meter, count)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	if opt.NoSpans {
		return throttle.JoinHooks(count.Hooks(), durations), stop, nil
	}
	return throttle.JoinHooks(count.Hooks(), durations, spanHooks()), stop, nil
}
