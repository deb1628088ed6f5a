package bucket

import "slices"

// State is what a key holds. The zero State is an absent key: every bucket full, nobody waiting, nothing blocked.
// Its fields are exported for those who store or show it; only [State.Apply] keeps their rules.
type State struct {
	// At is the instant the levels are of. It never falls, but for Rebase.
	At Micros
	// Buckets are in the order of [Limits]; those that a request's limits don't name keep their place until they are
	// full, so that processes with different quotas (a rolling deploy) don't forget each other's.
	Buckets []Bucket
	aligned *Limits // Buckets are exactly these limits' quotas, in order; nil if that isn't known
	// Blocked is the instant until which nothing is granted; 0 if not blocked.
	Blocked Micros
	// Kept is an instant before which the key doesn't equal an absent one, however full its buckets are: a quota was
	// replaced by one with a smaller burst when it was short, and would not have been full sooner. 0 for none.
	Kept Micros

	// Line holds those who wait, in the order in which they are to be served.
	Line []Place
	// Flows are the tags of the flows that were served or wait since the line was last empty.
	Flows []Flow
	// Virtual is V of start-time fair queueing, in microseconds of refill; 0 while nobody waits.
	Virtual float64
	// Arrivals numbers the places that have joined since the line was last empty.
	Arrivals int64

	// Batches are the newest requests applied, one a client, oldest first, for recognising a repeat.
	Batches []Batch
	// Forgotten is the instant of the newest batch that was dropped from Batches for want of room.
	Forgotten Micros
}

// Bucket is one quota's level.
type Bucket struct {
	// Quota is the quota as the request that used the key last gave it.
	Quota
	// Level is in units, as of the state's At; below 0 it is a debt.
	Level float64
	// OverLimit and OverBurst are the override set at run time, in units; 0 for none.
	OverLimit, OverBurst float64
}

// Rate returns the limit in force, in units a [Quota.Per]: the override, or the quota's own.
func (b *Bucket) Rate() float64 {
	if b.OverLimit > 0 {
		return b.OverLimit
	}
	return b.Limit
}

// Cap returns the burst in force, in units: the override's, or the quota's own.
func (b *Bucket) Cap() float64 {
	if b.OverLimit > 0 {
		return b.OverBurst
	}
	return b.Burst
}

// Place is one waiting acquire.
type Place struct {
	ID       string
	Flow     string
	Priority int32
	// Start is the tag it is ordered by within its priority, and Span what it took of its flow (share/weight): in
	// microseconds of refill.
	Start, Span float64
	// Arrival orders places of equal tags.
	Arrival int64
	// Cost is in units for each of the state's Buckets: what the place protects.
	Cost []float64
	// Since is when it joined, Due when it polls next, Lease when it is dropped if it hasn't: instants.
	Since, Due, Lease Micros
}

// Flow is the finish tag of one flow, in microseconds of refill: where its next place starts.
type Flow struct {
	Name   string
	Finish float64
}

// Batch is a request that was applied.
type Batch struct {
	ID string
	At Micros
	// Effects has a byte for each operation: '1' if it took effect, '0' if not (a refused acquire).
	Effects string
}

// MaxBatches is how many clients' newest batches a state remembers.
const MaxBatches = 16

// RetryWindow is how long a state remembers a batch, in microseconds: a key isn't dropped sooner, a later retry is Unknown.
const RetryWindow = Minute

// Clone returns a deep copy.
func (s *State) Clone() *State {
	c := *s
	c.Buckets = slices.Clone(s.Buckets)
	c.Line = slices.Clone(s.Line)
	for i := range c.Line {
		c.Line[i].Cost = slices.Clone(c.Line[i].Cost)
	}
	c.Flows = slices.Clone(s.Flows)
	c.Batches = slices.Clone(s.Batches)
	return &c
}

// AbsentAt is the instant from which the key, nothing else happening, equals an absent one: every bucket full, those of
// larger bursts before it too, nobody waiting, nothing blocked, no batch to remember. [Forever] if it never does (an override) or not within [MaxSpan]. A
// driver may drop the key then, never sooner: from then on no request can tell.
func (s *State) AbsentAt() Micros {
	at := max(s.At, s.Blocked, s.Kept)
	for i := range s.Line {
		at = max(at, s.Line[i].Lease+1)
	}
	for i := range s.Batches {
		at = max(at, s.Batches[i].At+RetryWindow)
	}
	if s.Forgotten > 0 {
		at = max(at, s.Forgotten+RetryWindow)
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		if b.OverLimit > 0 {
			return Forever
		}
		if b.Level < b.Cap() {
			at = max(at, later(s.At, b.timeTo(b.Cap())))
		}
	}
	return at
}

// Absent says whether the key equals an absent one at now.
func (s *State) Absent(now Micros) bool {
	if now < s.At || s.Blocked > now || s.Kept > now || s.Forgotten > 0 && s.Forgotten > now-RetryWindow {
		return false
	}
	for i := range s.Line {
		if s.Line[i].Lease >= now {
			return false
		}
	}
	for i := range s.Batches {
		if s.Batches[i].At > now-RetryWindow {
			return false
		}
	}
	dt := now - s.At
	for i := range s.Buckets {
		b := &s.Buckets[i]
		if b.OverLimit > 0 || b.levelAfter(dt) < b.Cap() {
			return false
		}
	}
	return true
}

// align makes s.Buckets hold every quota of l: at its index in l or, where the state has others besides, wherever the
// common order puts it; [State.index] finds it.
func (s *State) align(now Micros, l *Limits) {
	if s.aligned == l {
		return
	}
	if s.matches(l) {
		s.aligned = l
		return
	}
	s.advance(now)
	if s.Absent(s.At) {
		s.Buckets = s.Buckets[:0] // whether the driver dropped the key must not show: an absent key starts full
	}
	s.drop(l)
	for _, q := range l.quotas {
		i, found := slices.BinarySearchFunc(s.Buckets, q, func(b Bucket, q Quota) int { return b.compare(q) })
		if found {
			b := &s.Buckets[i]
			s.keepFor(b, q)
			b.Quota = q
			b.Level = min(b.Level, b.Cap())
			continue
		}
		s.Buckets = slices.Insert(s.Buckets, i, Bucket{Quota: q, Level: q.Burst})
		for j := range s.Line {
			s.Line[j].Cost = slices.Insert(s.Line[j].Cost, i, 0)
		}
	}
	s.aligned = nil
	if len(s.Buckets) == len(l.quotas) {
		s.aligned = l
	}
}

// keepFor makes the key last until b would be full under the quota it has, if another with a smaller burst takes its
// place: it will be full sooner, and whoever comes with the first quota again, as in a rolling deploy, must not find its
// whole burst.
func (s *State) keepFor(b *Bucket, q Quota) {
	if q.Burst >= b.Burst || b.Level >= b.Burst {
		return
	}
	before := Bucket{Quota: b.Quota, Level: b.Level}
	s.Kept = max(s.Kept, s.At+before.timeTo(before.Burst))
}

// matches says whether the buckets are exactly l's quotas.
func (s *State) matches(l *Limits) bool {
	if len(s.Buckets) != len(l.quotas) {
		return false
	}
	for i := range s.Buckets {
		if s.Buckets[i].Quota != l.quotas[i] {
			return false
		}
	}
	return true
}

// drop removes buckets that l doesn't name and that are full, with nobody in line for them: nothing is forgotten, unless one
// had a larger burst, that isn't full yet.
func (s *State) drop(l *Limits) {
	if s.Kept > s.At {
		return
	}
	for i := len(s.Buckets) - 1; i >= 0; i-- {
		b := &s.Buckets[i]
		if l.Find(b.Resource, b.Per) >= 0 || b.OverLimit > 0 || b.Level < b.Cap() || s.protected(i) {
			continue
		}
		s.Buckets = slices.Delete(s.Buckets, i, i+1)
		for j := range s.Line {
			s.Line[j].Cost = slices.Delete(s.Line[j].Cost, i, i+1)
		}
	}
}

func (s *State) protected(i int) bool {
	return slices.ContainsFunc(s.Line, func(p Place) bool { return p.Cost[i] > 0 })
}

// index returns where quota i of l is in s.Buckets.
func (s *State) index(l *Limits, i int) int {
	if s.aligned == l {
		return i
	}
	for j := i; j < len(s.Buckets); j++ {
		if q := &s.Buckets[j]; q.Per == l.quotas[i].Per && q.Resource == l.quotas[i].Resource {
			return j
		}
	}
	return -1 // not after align
}
