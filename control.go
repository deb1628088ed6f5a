package throttle

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/period"
)

// SetLimit overrides the limit of a model's family, for every process that uses it, until [Limiter.ClearLimit]: the
// quota with q's Resource and Per gets q's Limit and Burst (0: the same part of the limit as before). Levels stay. The
// family must have such a quota, which one without limits has not; otherwise the error is an [*ArgumentError].
//
// If ctx ends while the store is asked, which may be too late to take the operation back, the error is a [*StoreError] that
// matches ctx's and driver.ErrUnknownOutcome; before that it is ctx's alone, and nothing is changed. This holds for
// ClearLimit, Pause and Observe as well.
func (l *Limiter) SetLimit(ctx context.Context, model string, q Quota) error {
	f, p, _, err := l.begin(ctx, model, nil)
	if err != nil {
		return err
	}
	if err := q.bucket().Validate(); err != nil {
		return &ArgumentError{"quota", q, err.Error()}
	}
	i, err := p.find(q.Resource, q.Per)
	if err != nil {
		return err
	}
	return f.runOn(ctx, bucket.Op{Kind: bucket.SetLimit, Quota: i, Limit: q.Limit, Burst: q.Burst}, p, "set limit of")
}

// ClearLimit ends an override: the quota of resource over per is again what the model says. Errors are SetLimit's.
func (l *Limiter) ClearLimit(ctx context.Context, model, resource string, per time.Duration) error {
	f, p, _, err := l.begin(ctx, model, nil)
	if err != nil {
		return err
	}
	i, err := p.find(resource, per)
	if err != nil {
		return err
	}
	return f.runOn(ctx, bucket.Op{Kind: bucket.ClearLimit, Quota: i}, p, "clear limit of")
}

// runOn carries out an op on one of the plan's quotas. If the model's quotas change before it is sent, and that one isn't
// among them any more, the error is what it would have been a moment later.
func (f *family) runOn(ctx context.Context, op bucket.Op, p *plan, doing string) error {
	_, err := f.run(ctx, op, p, doing)
	if errors.Is(err, errNoSuchQuota) {
		q := p.limits.Quota(op.Quota)
		return noQuota(q.Resource, q.Per.Duration())
	}
	return err
}

func noQuota(resource string, per time.Duration) error {
	return &ArgumentError{"quota", resource + " per " + period.String(per), "one of the model's quotas, by resource and period"}
}

// find returns the index of a quota.
func (p *plan) find(resource string, per time.Duration) (int, error) {
	if p.unlimited {
		return 0, noQuota(resource, per)
	}
	i := p.limits.Find(resource, bucket.MicrosOf(per))
	if i < 0 {
		return 0, noQuota(resource, per)
	}
	return i, nil
}

// Pause grants nothing of a model's family for d, in every process: what a 429 with Retry-After asks for. A longer pause
// under way stays; a d of 0 ends it. A d of more than ten years counts as ten. A model without limits isn't paused, since
// nothing is kept of it.
func (l *Limiter) Pause(ctx context.Context, model string, d time.Duration) error {
	f, p, _, err := l.begin(ctx, model, nil)
	if err != nil || p.unlimited {
		return err
	}
	if d < 0 {
		return &ArgumentError{"pause", d, "0 or more"}
	}
	_, err = f.run(ctx, bucket.Op{Kind: bucket.Block, Span: min(bucket.MicrosOf(d), bucket.MaxSpan)}, p, "pause")
	return err
}

// Observation is what a provider says of one quota, mostly in a response's headers.
type Observation struct {
	// Resource and Per name the quota; a Per of 0 means the shortest one of the resource.
	Resource string
	Per      time.Duration
	// Remaining is how many units are left; NaN if the provider doesn't say.
	Remaining float64
	// Limit is the provider's limit, in units; if it is more than 0 and differs from ours, it overrides ours as
	// [Limiter.SetLimit] does. 0 if the provider doesn't say or isn't to be followed.
	Limit float64
}

// Observe takes a provider's word for what remains: levels are lowered to it, never raised, so that use this fleet can't
// see is respected. Observations of resources that the family doesn't limit are ignored.
func (l *Limiter) Observe(ctx context.Context, model string, observations ...Observation) error {
	f, p, _, err := l.begin(ctx, model, nil)
	if err != nil || p.unlimited {
		return err
	}
	for _, o := range observations {
		i := p.observed(o)
		if i < 0 {
			continue
		}
		if !(o.Limit >= 0 && o.Limit <= bucket.MaxUnits) {
			return &ArgumentError{"observed limit", o.Limit, "0 (not known) or more"}
		}
		if !math.IsNaN(o.Remaining) && math.Abs(o.Remaining) > bucket.MaxUnits {
			return &ArgumentError{"observed rest", o.Remaining, "a number of units, or NaN"}
		}
		op := bucket.Op{Kind: bucket.Observe, Quota: i, Level: o.Remaining, Limit: o.Limit}
		if _, err := f.run(ctx, op, p, "observe"); err != nil && !errors.Is(err, errNoSuchQuota) {
			return err
		}
	}
	return nil
}

// observed returns the quota that an observation is about, or -1.
func (p *plan) observed(o Observation) int {
	if o.Per > 0 {
		return p.limits.Find(o.Resource, bucket.MicrosOf(o.Per))
	}
	for i := range p.limits.Len() { // in order of period
		if p.limits.Quota(i).Resource == o.Resource {
			return i
		}
	}
	return -1
}
