package throttleotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/period"
	"github.com/tokenthrottle/throttle/internal/statuses"
)

// collectTimeout bounds what a collection waits for the store.
const collectTimeout = 5 * time.Second

// levels are the instruments that ask the store when they are collected.
type levels struct {
	lim *throttle.Limiter
	opt Options

	level, limit, burst, paused, expected metric.Float64ObservableGauge
	overridden, places, failed, omitted   metric.Int64ObservableGauge
}

func exportLevels(lim *throttle.Limiter, opt Options) (stop func() error, err error) {
	c := &levels{lim: lim, opt: opt}
	meter := opt.MeterProvider.Meter(scope)
	var errs []error
	var all []metric.Observable
	gauge := func(name, unit, description string) metric.Float64ObservableGauge {
		i, err := meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		all, errs = append(all, i), append(errs, err)
		return i
	}
	number := func(name, unit, description string) metric.Int64ObservableGauge {
		i, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		all, errs = append(all, i), append(errs, err)
		return i
	}
	c.level = gauge("throttle.level", "{unit}", "Units that can be used now; below 0 it is a debt.")
	c.limit = gauge("throttle.limit", "{unit}", "Units that come back in each period.")
	c.burst = gauge("throttle.burst", "{unit}", "The most that the level can be.")
	c.paused = gauge("throttle.paused", "s", "How much longer nothing is granted.")
	c.expected = gauge("throttle.line.expected", "s", "In how long the last of the line is expected to be served.")
	c.overridden = number("throttle.limit.overridden", "1", "1 if limit and burst were set at run time, else 0.")
	c.places = number("throttle.line.places", "{place}", "Places in the line, in all processes.")
	c.failed = number("throttle.status.failed", "{family}", "Families that could not be looked at in this collection.")
	c.omitted = number("throttle.status.omitted", "{family}", "Families left out of this collection.")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	registration, err := meter.RegisterCallback(c.observe, all...)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

func (c *levels) observe(ctx context.Context, o metric.Observer) error {
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	look := statuses.Of(ctx, c.lim, c.opt.Models, !c.opt.ListedOnly, c.opt.MaxFamilies)
	o.ObserveInt64(c.failed, int64(look.Failed))
	o.ObserveInt64(c.omitted, int64(look.Omitted))
	for i := range look.Statuses {
		c.family(o, &look.Statuses[i])
	}
	return nil
}

func (c *levels) family(o metric.Observer, s *throttle.Status) {
	family := metric.WithAttributes(text(familyKey, s.Family))
	for _, b := range s.Buckets {
		quota := metric.WithAttributes(text(familyKey, s.Family), text(resourceKey, b.Resource), periodKey.String(period.String(b.Per)))
		o.ObserveFloat64(c.level, b.Level, quota)
		o.ObserveFloat64(c.limit, b.Limit, quota)
		o.ObserveFloat64(c.burst, b.Burst, quota)
		overridden := int64(0)
		if b.Overridden {
			overridden = 1
		}
		o.ObserveInt64(c.overridden, overridden, quota)
	}
	paused, expected := 0.0, 0.0
	if !s.Paused.IsZero() {
		paused = s.Paused.Sub(s.Now).Seconds()
	}
	for _, p := range s.Line {
		expected = max(expected, p.Expected.Seconds())
	}
	o.ObserveFloat64(c.paused, paused, family)
	o.ObserveInt64(c.places, int64(len(s.Line)), family)
	o.ObserveFloat64(c.expected, expected, family)
}
