package throttle

import (
	"context"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
)

// Status is a family at one instant.
type Status struct {
	Family string
	// Now is the store's clock.
	Now time.Time
	// Paused is until when nothing is granted; zero if the family isn't paused.
	Paused time.Time
	// Buckets are the family's quotas, by resource and period.
	Buckets []BucketStatus
	// Line is who waits, in all processes, in the order of service: who is ahead of a place stands before it.
	Line []PlaceStatus
	// Waiting is how many calls wait in this process.
	Waiting int
}

// BucketStatus is one quota's state.
type BucketStatus struct {
	// Quota has the limit and burst in force.
	Quota
	// Overridden says that they were set at run time.
	Overridden bool
	// Level is how many units can be used now; below 0 it is a debt.
	Level float64
	// Full is how long it takes to refill, nothing else happening.
	Full time.Duration
}

// PlaceStatus is one place in the line: the head of a flow's calls in one process.
type PlaceStatus struct {
	Flow     string
	Priority int
	// Usage is what it waits for.
	Usage Usage
	// Since is when it joined and Poll when it is due to ask again, by the store's clock.
	Since, Poll time.Time
	// Resource and Per are the quota that binds: the one that will cover it, and those ahead, last. An empty Resource means
	// that the family is paused and nothing else is short, or that what it waits for is there already.
	Resource string
	Per      time.Duration
	// Expected is in how long it should be granted, nothing else happening: see [bucket.State.Expect].
	Expected time.Duration
	// Ours says that it is this limiter's.
	Ours bool
}

// Status reports on a model's family. For an unlimited model it is empty. It ends with ctx, however slow the store is.
func (l *Limiter) Status(ctx context.Context, model string) (Status, error) {
	f, p, _, err := l.begin(ctx, model, nil)
	if err != nil || p.unlimited {
		return Status{}, err
	}
	return f.status(ctx, p)
}

// Families are the names of the families that the limiter has seen and not forgotten as idle, sorted.
func (l *Limiter) Families() []string {
	list := l.families.list()
	names := make([]string, len(list))
	for i, f := range list {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}

// FamilyStatus is [Limiter.Status] by the family's name, for programs that show what there is. It doesn't count as use of
// the family. Errors: an [*ArgumentError] for a family that is not among [Limiter.Families]; otherwise Status's.
func (l *Limiter) FamilyStatus(ctx context.Context, family string) (Status, error) {
	if l.err != nil {
		return Status{}, l.err
	}
	if l.closed.Load() {
		return Status{}, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return Status{}, err
	}
	f := l.families.get(family)
	var p *plan
	if f != nil {
		p = f.plan.Load()
	}
	if p == nil {
		return Status{}, &ArgumentError{"family", family, "one that the limiter has used"}
	}
	return f.status(ctx, p)
}

// status asks the store.
func (f *family) status(ctx context.Context, p *plan) (Status, error) {
	res, err := f.run(ctx, bucket.Op{Kind: bucket.Peek}, p, "peek at")
	if err != nil {
		return Status{}, err
	}
	s := StatusOf(f.name, res.State)
	s.Waiting = int(f.waiting.Load())
	f.mu.Lock()
	ours := make(map[string]bool, len(f.lanes))
	for _, ln := range f.lanes {
		ours[ln.place] = true
	}
	f.mu.Unlock()
	for i := range res.State.Line {
		s.Line[i].Ours = ours[res.State.Line[i].ID]
	}
	return s, nil
}

// StatusOf describes a state that was read from a store directly (a Peek), for programs that show any store's families.
func StatusOf(family string, state *bucket.State) Status {
	s := Status{Family: family, Now: state.At.Time()}
	if state.Blocked > state.At {
		s.Paused = state.Blocked.Time()
	}
	for i := range state.Buckets {
		b := &state.Buckets[i]
		s.Buckets = append(s.Buckets, BucketStatus{
			Quota:      Quota{Resource: b.Resource, Limit: b.Rate(), Per: b.Per.Duration(), Burst: b.Cap()},
			Overridden: b.OverLimit > 0, Level: b.Level, Full: b.Full().Duration(),
		})
	}
	expected := state.Expect(state.At)
	for i := range state.Line {
		p := &state.Line[i]
		place := PlaceStatus{
			Flow: p.Flow, Priority: int(p.Priority), Usage: Usage{}, Since: p.Since.Time(), Poll: p.Due.Time(),
			Expected: expected[i].In.Duration(),
		}
		if j := expected[i].Quota; j >= 0 {
			place.Resource, place.Per = state.Buckets[j].Resource, state.Buckets[j].Per.Duration()
		}
		for j, c := range p.Cost {
			if r := state.Buckets[j].Resource; c > 0 {
				place.Usage[r] = max(place.Usage[r], c)
			}
		}
		s.Line = append(s.Line, place)
	}
	return s
}
