package watch

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/presence"
	"github.com/tokenthrottle/throttle/internal/statuses"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// Source is what can be looked at.
type Source interface {
	// look looks once. It isn't called twice at a time.
	look(ctx context.Context) statuses.Look
	// begin is called before the first look of a series, and end after the last: while nobody looks, a source costs
	// nothing.
	begin() (end func())
	// own is what this process did to a family since begin; nil if that isn't known.
	own() map[string]*tally.Flow
	// hear has what happens between looks told to note, from now on.
	hear(note func(Event)) (stop func())
}

// Filter says which families are looked at.
type Filter struct {
	// Models are the models whose families are looked at even if nothing has used them yet.
	Models []string
	// ListedOnly leaves out the others.
	ListedOnly bool
	// Most is how many are looked at, in order of name.
	Most int
}

// OfLimiter looks at a limiter's families.
func OfLimiter(l *throttle.Limiter, f Filter) Source { return &limiterSource{limiter: l, filter: f} }

type limiterSource struct {
	limiter *throttle.Limiter
	filter  Filter
	count   *tally.Tally
}

func (s *limiterSource) look(ctx context.Context) statuses.Look {
	return statuses.Of(ctx, s.limiter, s.filter.Models, !s.filter.ListedOnly, s.filter.Most)
}

func (s *limiterSource) begin() (end func()) {
	s.count = tally.New(tally.Options{MaxFamilies: 10_000, AtGrant: true})
	return s.limiter.Watch(s.count.Hooks())
}

func (s *limiterSource) own() map[string]*tally.Flow {
	byFamily := map[string]*tally.Flow{}
	for f := range s.count.Flows() {
		byFamily[f.Family] = f
	}
	return byFamily
}

// ErrNoLister says that a store can't list its families, and none were named.
var ErrNoLister = errors.New("the store can't list its families: name those to show")

// OfStore looks at the families that a store holds, or at those named.
func OfStore(d driver.Driver, families []string, most int) (Source, error) {
	lister, _ := d.(driver.Lister)
	if lister == nil && len(families) == 0 {
		return nil, ErrNoLister
	}
	return &storeSource{driver: d, lister: lister, named: slices.Clone(families), most: most, last: map[string]sight{}}, nil
}

type storeSource struct {
	driver driver.Driver
	lister driver.Lister
	named  []string
	most   int

	listed   []string
	listedAt time.Time
	omitted  int
	last     map[string]sight
}

// sight is when a family was last there, and how.
type sight struct {
	at     time.Time
	status throttle.Status
}

const (
	// listEvery is how often a store is asked for its families: that can take it long.
	listEvery = 5 * time.Second
	// maxListed bounds how many names are read.
	maxListed = 100_000
	// forgetAfter is how long a family is shown that the store has dropped, since it is full and nobody waits.
	forgetAfter = 5 * time.Minute
)

func (s *storeSource) begin() (end func()) {
	s.listedAt = time.Time{}
	return func() {}
}

func (s *storeSource) own() map[string]*tally.Flow { return nil }

func (s *storeSource) hear(func(Event)) (stop func()) { return func() {} }

// list finds out which families there are.
func (s *storeSource) list(ctx context.Context) error {
	names := slices.Clone(s.named)
	if len(names) == 0 {
		if !s.listedAt.IsZero() && time.Since(s.listedAt) < listEvery {
			return nil
		}
		for name, err := range presence.Families(s.lister.Keys(ctx)) {
			if err != nil {
				return err
			}
			if names = append(names, name); len(names) >= maxListed {
				break
			}
		}
	}
	for name, seen := range s.last {
		if time.Since(seen.at) > forgetAfter {
			delete(s.last, name)
		} else {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	s.omitted = max(0, len(names)-s.most)
	s.listed, s.listedAt = names[:len(names)-s.omitted], time.Now()
	return nil
}

func (s *storeSource) look(ctx context.Context) statuses.Look {
	if err := s.list(ctx); err != nil {
		return statuses.Look{Err: err, Failed: max(1, len(s.listed))}
	}
	look := statuses.Look{Omitted: s.omitted}
	batch := make([]driver.Request, len(s.listed))
	for i, name := range s.listed {
		batch[i] = driver.Request{Key: name, Ops: []bucket.Op{{Kind: bucket.Peek}}}
	}
	if len(batch) == 0 {
		return look
	}
	answers, err := s.driver.Apply(ctx, batch)
	if err == nil && len(answers) != len(batch) {
		err = driver.ErrUnknownOutcome
	}
	if err != nil {
		look.Err, look.Failed = err, len(batch)
		return look
	}
	for i, name := range s.listed {
		var status throttle.Status
		if a := answers[i]; !a.Absent && len(a.Results) == 1 && a.Results[0].State != nil {
			status = throttle.StatusOf(name, a.Results[0].State)
			s.last[name] = sight{time.Now(), status}
		} else if last, ok := s.last[name]; ok {
			status = full(last.status, a.Now.Time())
		} else {
			continue // it has never been used, or not for long
		}
		look.Statuses = append(look.Statuses, status)
	}
	return look
}

// full is what a family that the store has dropped equals: as it was last seen, with every bucket full.
func full(s throttle.Status, now time.Time) throttle.Status {
	s.Now, s.Paused, s.Line = now, time.Time{}, nil
	s.Buckets = slices.Clone(s.Buckets)
	for i := range s.Buckets {
		s.Buckets[i].Level, s.Buckets[i].Full = s.Buckets[i].Burst, 0
	}
	return s
}
