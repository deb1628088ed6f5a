package throttleotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// The attributes of metrics, spans and events.
const (
	familyKey   = attribute.Key("throttle.family")
	flowKey     = attribute.Key("throttle.flow")
	resourceKey = attribute.Key("throttle.resource")
	periodKey   = attribute.Key("throttle.period")
	reasonKey   = attribute.Key("throttle.reason")
	priorityKey = attribute.Key("throttle.priority")
	errorKey    = attribute.Key("error.type") // https://opentelemetry.io/docs/specs/semconv/attributes-registry/error
)

// text is an attribute that any exporter takes.
func text(key attribute.Key, value string) attribute.KeyValue { return key.String(tally.Label(value)) }

// counts are the instruments that read a tally when they are collected, so that the calls themselves pay for nothing
// but the tally.
type counts struct {
	tally *tally.Tally

	acquired, settled, abandoned, refused metric.Int64ObservableCounter
	stateMissing, clockSteps, storeErrors metric.Int64ObservableCounter
	reserved, used, refunded, debt        metric.Float64ObservableCounter
	waiting                               metric.Int64ObservableUpDownCounter
	all                                   []metric.Observable
}

func exportCounts(meter metric.Meter, t *tally.Tally) (stop func() error, err error) {
	c := &counts{tally: t}
	var errs []error
	count := func(name, unit, description string) metric.Int64ObservableCounter {
		i, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		c.all, errs = append(c.all, i), append(errs, err)
		return i
	}
	units := func(name, description string) metric.Float64ObservableCounter {
		i, err := meter.Float64ObservableCounter(name, metric.WithUnit("{unit}"), metric.WithDescription(description))
		c.all, errs = append(c.all, i), append(errs, err)
		return i
	}
	c.acquired = count("throttle.acquired", "{reservation}", "Reservations granted.")
	c.settled = count("throttle.settled", "{reservation}", "Reservations settled or cancelled.")
	c.abandoned = count("throttle.abandoned", "{call}", "Calls that left the line without a grant, by reason.")
	c.refused = count("throttle.refused", "{call}", "Calls refused, by reason and the resource that was short.")
	c.stateMissing = count("throttle.state.missing", "{event}", "Times that the store had lost a family's state.")
	c.clockSteps = count("throttle.clock.steps", "{event}", "Times that the store's clock was seen to step.")
	c.storeErrors = count("throttle.store.errors", "{error}", "Failed round trips to the store.")
	c.reserved = units("throttle.units.reserved", "Units that were reserved, of what was settled.")
	c.used = units("throttle.units.used", "Units used by what was settled or recorded.")
	c.refunded = units("throttle.units.refunded", "Units reserved, not used and given back.")
	c.debt = units("throttle.units.debt", "Units used beyond what was reserved.")
	c.waiting, err = meter.Int64ObservableUpDownCounter("throttle.waiting", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of this process that stand in line now."))
	c.all = append(c.all, c.waiting)
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	registration, err := meter.RegisterCallback(c.observe, c.all...)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

// by is a flow's attributes.
func by(t *tally.Tally, family, flow string) []attribute.KeyValue {
	list := []attribute.KeyValue{text(familyKey, family)}
	if t.ByFlow() {
		list = append(list, text(flowKey, flow))
	}
	return list[:len(list):len(list)]
}

func (c *counts) observe(_ context.Context, o metric.Observer) error {
	for f := range c.tally.Flows() {
		flow := by(c.tally, f.Family, f.Flow)
		with := func(more ...attribute.KeyValue) metric.ObserveOption {
			return metric.WithAttributes(append(flow, more...)...)
		}
		o.ObserveInt64(c.acquired, int64(f.Acquired), with())
		o.ObserveInt64(c.settled, int64(f.Settled), with())
		o.ObserveInt64(c.waiting, f.Waiting, with())
		for reason, n := range f.Abandoned {
			o.ObserveInt64(c.abandoned, int64(n), with(reasonKey.String(reason)))
		}
		for _, r := range f.Refused {
			o.ObserveInt64(c.refused, int64(r.Count), with(reasonKey.String(r.Reason), text(resourceKey, r.Resource)))
		}
		for i := range f.Resources {
			r := &f.Resources[i]
			resource := with(text(resourceKey, r.Name))
			o.ObserveFloat64(c.reserved, r.Reserved, resource)
			o.ObserveFloat64(c.used, r.Used, resource)
			o.ObserveFloat64(c.refunded, r.Refunded, resource)
			o.ObserveFloat64(c.debt, r.Debt, resource)
		}
		if f.Last {
			family := metric.WithAttributes(text(familyKey, f.Family))
			o.ObserveInt64(c.stateMissing, int64(f.StatesMissing), family)
			o.ObserveInt64(c.clockSteps, int64(f.ClockSteps), family)
		}
	}
	for kind, n := range c.tally.Store().Errors {
		o.ObserveInt64(c.storeErrors, int64(n), metric.WithAttributes(errorKey.String(kind)))
	}
	return nil
}

// durationHooks record what OpenTelemetry can only be told as it happens: the waits, and the round trips to the store.
func durationHooks(meter metric.Meter, t *tally.Tally) (*throttle.Hooks, error) {
	var errs []error
	histogram := func(name, unit, description string, bounds []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(bounds...))
		errs = append(errs, err)
		return h
	}
	waits := histogram("throttle.wait.duration", "s", "How long calls stood in line, granted in the end or not, by the resource that bound last.", tally.WaitBounds)
	trips := histogram("throttle.store.duration", "s", "Round trips to the store, failed ones too.", tally.StoreBounds)
	families := histogram("throttle.store.batch.families", "{family}", "Families in one batch to the store.", tally.BatchBounds)
	operations := histogram("throttle.store.batch.operations", "{operation}", "Operations in one batch to the store.", tally.BatchBounds)
	return &throttle.Hooks{
		WaitEnded: func(ctx context.Context, i throttle.WaitInfo) {
			family, flow := t.Names(i.Call)
			// An SDK may drop what is recorded under a context that has ended: those who gave up would be missing.
			waits.Record(context.WithoutCancel(ctx), i.Waited.Seconds(), metric.WithAttributes(append(by(t, family, flow), text(resourceKey, tally.Cause(&i)))...))
		},
		StoreAnswered: func(i throttle.StoreAnsweredInfo) {
			ctx := context.Background()
			trips.Record(ctx, i.Took.Seconds())
			families.Record(ctx, float64(i.Families))
			operations.Record(ctx, float64(i.Operations))
		},
		StoreError: func(i throttle.StoreErrorInfo) {
			if i.Families > 0 {
				trips.Record(context.Background(), i.Took.Seconds(), metric.WithAttributes(errorKey.String(tally.StoreErrorKind(i.Err))))
			}
		},
	}, errors.Join(errs...)
}
