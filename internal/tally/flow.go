package tally

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tokenthrottle/throttle"
)

// stripes is over how many locks a flow's settlements are spread.
const stripes = 4

// flow is what is counted of a flow in a family.
type flow struct {
	stripes [stripes]stripe
	atGrant bool // count what is reserved when it is granted

	unwaited, waited atomic.Uint64 // grants
	waiting          atomic.Int64
	missing, stepped atomic.Uint64

	mu        sync.Mutex // guards what happens seldom
	waits     map[string]*Histogram
	granted   uint64 // how many of the waits ended in a grant
	abandoned map[string]uint64
	refusals  map[refusal]uint64
}

type refusal struct{ reason, resource string }

// stripe is a part of a flow's counts.
type stripe struct {
	mu        sync.Mutex
	settles   uint64
	resources []resource
	names     *string  // the first of the names that slots is of
	slots     []int    // where in resources each of those is
	_         [64]byte // no neighbour in the cache line
}

// resource is what is counted of one, in its units.
type resource struct {
	name                           string
	reserved, used, refunded, debt float64
	exact                          uint64 // how many estimates were right; ratio counts the others
	ratio                          ratios
}

// lockAnother takes a stripe that is free, or else waits for the first, which was not.
func (f *flow) lockAnother() *stripe {
	for i := range f.stripes {
		if s := &f.stripes[i]; s.mu.TryLock() {
			return s
		}
	}
	s := &f.stripes[0]
	s.mu.Lock()
	return s
}

// places says where in resources each name is. Names that come again are the same slice.
func (s *stripe) places(names []string) []int {
	if len(s.slots) == len(names) && s.names == unsafe.SliceData(names) {
		return s.slots
	}
	return s.place(names)
}

func (s *stripe) place(names []string) []int {
	s.slots = s.slots[:0]
	for _, name := range names {
		s.slots = append(s.slots, s.find(name))
	}
	s.names = unsafe.SliceData(names)
	return s.slots
}

// find returns the index of a resource, which it makes if there is room.
func (s *stripe) find(name string) int {
	for j := range s.resources {
		if s.resources[j].name == name {
			return j
		}
	}
	if len(s.resources) >= maxResources-1 && name != Other {
		return s.find(Other)
	}
	s.resources = append(s.resources, resource{name: name})
	return len(s.resources) - 1
}

// acquired counts a grant. What it reserved is counted when it is settled, beside what was used of it, where the lock is
// held anyway; or now, if that was asked for.
func (f *flow) acquired(usage *throttle.Amounts, waited bool) {
	if f.atGrant {
		s := f.lockAnother()
		slots := s.places(usage.Resources())
		for i, units := range usage.Units() {
			s.resources[slots[i]].reserved += units
		}
		s.mu.Unlock()
	}
	if waited {
		f.waited.Add(1)
		return
	}
	f.unwaited.Add(1)
}

func (f *flow) settled(reserved, used *throttle.Amounts) {
	names, estimates, units := used.Resources(), reserved.Units(), used.Units()
	s := &f.stripes[0]
	if !s.mu.TryLock() {
		s = f.lockAnother()
	}
	slots := s.places(names)
	if len(estimates) == 0 { // recorded, not reserved before
		for i, u := range units {
			r := &s.resources[slots[i]]
			r.used += u
			r.debt += u
		}
		s.mu.Unlock()
		return
	}
	s.settles++
	slots, estimates = slots[:len(units)], estimates[:len(units)] // so that the loop need not look
	for i, u := range units {
		r, estimate := &s.resources[slots[i]], estimates[i]
		if !f.atGrant {
			r.reserved += estimate
		}
		if u == estimate {
			if u != 0 {
				r.used += u
				r.exact++
			}
			continue
		}
		r.other(u, estimate)
	}
	s.mu.Unlock()
}

// other counts a settlement whose estimate was off.
func (r *resource) other(u, estimate float64) {
	r.used += u
	if estimate == 0 {
		r.debt += u
		return
	}
	if u > estimate {
		r.debt += u - estimate
	} else {
		r.refunded += estimate - u
	}
	r.ratio.observe(u / estimate)
}

func (f *flow) waitEnded(i *throttle.WaitInfo) {
	cause := Cause(i)
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.waits[cause]
	if h == nil {
		if len(f.waits) >= maxResources {
			cause = Other
		}
		if h = f.waits[cause]; h == nil {
			if f.waits == nil {
				f.waits = map[string]*Histogram{}
			}
			h = newHistogram(WaitBounds)
			f.waits[cause] = h
		}
	}
	h.observe(i.Waited.Seconds())
	if i.Err == nil {
		f.granted++
		return
	}
	if reason, _ := Refusal(i.Err); reason != Other {
		return // it is counted as one
	}
	if f.abandoned == nil {
		f.abandoned = map[string]uint64{}
	}
	f.abandoned[WaitErrorKind(i.Err)]++
}

// Cause is what a call waited for last: a resource, or [Paused].
func Cause(i *throttle.WaitInfo) string {
	if i.Resource == "" {
		return Paused
	}
	return i.Resource
}

// WaitErrorKind says in a word why a call left the line without a grant.
func WaitErrorKind(err error) string {
	if reason, _ := Refusal(err); reason != Other {
		return reason
	}
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline_exceeded"
	case errors.Is(err, throttle.ErrClosed):
		return "closed"
	}
	return "store_error"
}

func (f *flow) refused(reason, resource string) {
	key := refusal{reason, resource}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refusals == nil {
		f.refusals = map[refusal]uint64{}
	}
	if _, ok := f.refusals[key]; !ok && len(f.refusals) >= 4*maxResources {
		key.resource = Other
	}
	f.refusals[key]++
}

// snapshot copies what was counted.
func (f *flow) snapshot(family, name string) *Flow {
	out := &Flow{
		Family: family, Flow: name,
		Waiting: f.waiting.Load(), StatesMissing: f.missing.Load(), ClockSteps: f.stepped.Load(),
	}
	for i := range f.stripes {
		s := &f.stripes[i]
		s.mu.Lock()
		out.Settled += s.settles
		for j := range s.resources {
			out.add(&s.resources[j])
		}
		s.mu.Unlock()
	}
	out.Unwaited = f.unwaited.Load() // after the settlements: none that is counted there is missing here
	out.Acquired = out.Unwaited + f.waited.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	out.Waits = make(map[string]*Histogram, len(f.waits))
	for cause, h := range f.waits {
		out.Waits[cause] = h.clone()
	}
	out.Abandoned = maps.Clone(f.abandoned)
	for key, n := range f.refusals {
		out.Refused = append(out.Refused, Refused{key.reason, key.resource, n})
	}
	return out
}
