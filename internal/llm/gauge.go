package llm

import (
	"math"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
)

// Undiscovered is the limit, in units, of a quota whose real limit is to be learned from the provider's headers.
const Undiscovered = 1e12

// Margins by which a level is kept below what the provider says remains, as parts of the limit. They cost nothing at
// saturation, when refill alone counts; only the burst after an idle spell is smaller by them.
const (
	mostHeadroom = 0.02 // the part that a quota's burst leaves to the limit is kept, but no more than this
	mostMargin   = 0.20 // for the use of others, at most
)

// gauge learns what others use of one family's limits, from what the provider says remains.
//
// A statement is old when it arrives: it was true when the provider admitted the call, and since then levels have
// refilled, others have used some, and this program has acquired and given back. Lowering a level to an old statement
// would throw away what came since, at every answer. So a statement is carried forward to now: by refill, less what
// others use at the rate that earlier statements show, less what this program used net. What is not known makes the
// result rather too high, and a level is never raised by it; so the noise costs a part of the burst once, not
// throughput.
type gauge struct {
	mu     sync.Mutex
	tracks map[string]*track
	known  bool // headers have been seen
	probe  chan struct{}
}

// track is one resource's.
type track struct {
	net  float64 // used by this program: reserved less given back, since ever
	last mark    // the latest statement
	// others is what others use, in units a second; a moving average.
	others float64
	// gap is the time between statements, a moving average in seconds.
	gap   float64
	limit float64 // as last stated
}

// mark is a statement: at was the call's sending, which the provider's admission follows closely.
type mark struct {
	at        time.Time
	net       float64
	remaining float64
	ok        bool
}

// snapshot is what a gauge remembers of the moment at which a call is sent.
type snapshot struct {
	at  time.Time
	net map[string]float64
}

func newGauge() *gauge { return &gauge{tracks: map[string]*track{}} }

// used adds what this program used, or, if negative, gave back.
func (g *gauge) used(usage throttle.Usage, sign float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for resource, n := range usage {
		g.track(resource).net += sign * n
	}
}

func (g *gauge) track(resource string) *track {
	t := g.tracks[resource]
	if t == nil {
		t = &track{}
		g.tracks[resource] = t
	}
	return t
}

func (g *gauge) snapshot(now time.Time) snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := snapshot{now, make(map[string]float64, len(g.tracks))}
	for resource, t := range g.tracks {
		s.net[resource] = t.net
	}
	return s
}

// observe turns what an answer's headers state into observations for the limiter: none where they tell nothing new.
func (g *gauge) observe(quotas []throttle.Quota, sent snapshot, now time.Time, stated []Stated, follow Follow) []throttle.Observation {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []throttle.Observation
	for _, s := range stated {
		q, ok := quotaFor(quotas, s)
		if !ok {
			continue
		}
		t := g.track(s.Resource)
		o := throttle.Observation{Resource: q.Resource, Per: q.Per, Remaining: math.NaN()}
		fresh := !t.last.ok || !sent.at.Before(t.last.at)
		if s.Limit.Limit > 0 && fresh {
			o.Limit = follow.limit(q, s.Limit.Limit)
			t.limit = s.Limit.Limit
		}
		if s.HasRemaining && fresh {
			o.Remaining = t.carry(q, s, mark{sent.at, sent.net[s.Resource], s.Remaining, true}, now)
		}
		if o.Limit > 0 || !math.IsNaN(o.Remaining) {
			list = append(list, o)
		}
	}
	return list
}

// carry brings a statement forward to now.
func (t *track) carry(q throttle.Quota, s Stated, m mark, now time.Time) float64 {
	limit := t.limit
	if limit <= 0 {
		limit = q.Limit
	}
	rate := limit / q.Per.Seconds()
	t.learn(m, rate, limit, q.Per)
	t.last = m
	age := now.Sub(m.at).Seconds()
	// Of what this program used since, some was admitted before this call, for calls overtake each other; in a burst it
	// is most of it. So no more counts than the limit allows in the long run.
	since := min(t.net-m.net, rate*age)
	remaining := s.Remaining + s.Rounding + (rate-t.others)*age - since
	burst := q.Burst
	if burst <= 0 {
		burst = q.Limit
	}
	headroom := min(mostHeadroom, max(0, 1-burst/q.Limit)) * limit
	margin := min(mostMargin*limit, t.others*(2*t.gap+q.Per.Seconds()/200))
	return min(remaining, limit) - headroom - margin
}

// learn compares a statement with the one before: what is missing without our doing was used by others.
func (t *track) learn(m mark, rate, limit float64, per time.Duration) {
	if !t.last.ok {
		return
	}
	passed := m.at.Sub(t.last.at).Seconds()
	if passed <= 0 {
		return
	}
	// The memory is a twentieth of the period: long against the noise of calls overtaking each other, short against
	// the time in which somebody's share of a limit matters.
	memory := per.Seconds() / 20
	weight := 1 - math.Exp(-passed/memory)
	t.gap += (min(passed, per.Seconds()) - t.gap) * weight
	expected := t.last.remaining + rate*passed - (m.net - t.last.net)
	if expected > limit { // the bucket was full in between: nothing can be told
		return
	}
	others := (expected - m.remaining) / passed
	t.others += (min(max(others, -rate), rate) - t.others) * weight
	t.others = max(0, t.others)
}

// quotaFor finds the quota that a statement is about. Headers don't name the period, but limit, remainder and the time to
// full give it away; where they don't, it is the quota with that limit, or the shortest of the resource if that is
// minutes at most.
func quotaFor(quotas []throttle.Quota, s Stated) (throttle.Quota, bool) {
	var shortest, equal, near throttle.Quota
	per := statedPer(s)
	for _, q := range quotas {
		if q.Resource != s.Resource {
			continue
		}
		if shortest.Per == 0 || q.Per < shortest.Per {
			shortest = q
		}
		if equal.Per == 0 && math.Abs(q.Limit-s.Limit.Limit) <= 0.01*q.Limit {
			equal = q
		}
		if near.Per == 0 && per > q.Per/2 && per < q.Per*2 {
			near = q
		}
	}
	switch {
	case per > 0:
		return near, near.Per > 0
	case equal.Per > 0:
		return equal, true
	}
	return shortest, shortest.Per > 0 && shortest.Per <= time.Hour
}

// statedPer derives the period of a statement, 0 if it can't be told. Below a part in two hundred the rounding of the
// reset would decide.
func statedPer(s Stated) time.Duration {
	used := s.Limit.Limit - s.Remaining
	if s.Reset <= 0 || !s.HasRemaining || s.Limit.Limit <= 0 || used < s.Limit.Limit/200 || used < s.Rounding*5 {
		return 0
	}
	return time.Duration(min(float64(s.Reset)*s.Limit.Limit/used, float64(365*24*time.Hour)))
}

// Follow says whose limits count: the user's, or those that the provider states.
type Follow uint8

const (
	// FollowDown takes a stated limit that is lower than the user's, and lets it rise again up to the user's.
	FollowDown Follow = iota
	// FollowAlways takes every stated limit.
	FollowAlways
	// FollowNever keeps the user's. Limits that the user did not give are still discovered.
	FollowNever
)

// limit is the limit to be in force, 0 to leave it.
func (f Follow) limit(q throttle.Quota, stated float64) float64 {
	switch {
	case q.Limit >= Undiscovered || f == FollowAlways:
		return stated
	case f == FollowNever:
		return 0
	}
	return min(stated, q.Limit)
}
