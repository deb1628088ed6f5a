package bucket

import (
	"slices"
	"strings"
)

// minOverfull is the least hint, in microseconds, where the places ahead add up to more than a burst and the level
// already covers those at the front: they are about to poll.
const minOverfull = 1000

// acquire grants o, or refuses it with a hint and, where it has a Place, keeps that place in the line.
//
// Fairness is start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996) over dominant shares (Ghodsi et al.:
// Multi-Resource Fair Queueing, SIGCOMM 2012). A place starts where its flow's last one finished, or at V for a flow
// that has no tag, and finishes share/weight later. V is the start of the place served last or of the first that still
// waits, whichever is less, and never falls.
func (s *State) acquire(now, t Micros, l *Limits, o *Op, res *Result) {
	short := len(s.Line) == 0 && t >= s.Blocked && s.aligned == l && len(s.Buckets) <= shortest
	if short && s.grant(t, l, o) {
		res.Status = Granted
		return
	}
	own := -1
	if o.Place != "" && len(s.Line) > 0 {
		own = s.find(o.Place)
	}
	for i := range l.quotas {
		if o.cost(l.resourceOf[i]) > s.Buckets[s.index(l, i)].Cap() {
			if own >= 0 {
				s.leave(own)
			}
			res.Status, res.Quota = TooLarge, i
			return
		}
	}
	if own >= 0 && (s.Line[own].Flow != o.Flow || s.Line[own].Priority != o.Priority) {
		s.leave(own)
		own = -1
	}
	start, position := 0.0, own
	if own >= 0 {
		start = s.Line[own].Start
	} else if len(s.Line) > 0 {
		start = s.startOf(o.Flow)
		position = s.positionOf(t, o.Priority, start)
	} else {
		position = 0
	}

	if !short && t >= s.Blocked && s.covers(t, l, o, position) {
		s.debit(t, l, o)
		res.Status = Granted
		if len(s.Line) > 0 {
			s.served(own, start, l, o)
		}
		return
	}

	at, quota := s.hint(t, l, o, position)
	res.Status, res.Place = Refused, position+1
	if o.Place == "" {
		at, quota = s.hintFurtherBack(at, quota, t, l, o, start, position)
		res.Quota, res.RetryAfter = quota, at-now
		return
	}
	res.Quota, res.RetryAfter = quota, at-now
	if own < 0 {
		s.join(t, l, o, start, position)
	}
	s.keep(own >= 0, position, t, at, l, o)
}

// keep renews the place at position: its lease and, where one who waits behind in the same process has taken it over,
// its cost and what it takes of its flow.
func (s *State) keep(renewed bool, position int, t, at Micros, l *Limits, o *Op) {
	p := &s.Line[position]
	for i := range l.quotas {
		p.Cost[s.index(l, i)] = o.cost(l.resourceOf[i])
	}
	p.Due = at
	if o.Poll > 0 {
		p.Due = min(at, t+o.Poll)
	}
	p.Lease = p.Due + o.Grace
	if span := s.share(l, o) / o.weight(); renewed && span != p.Span {
		back := p.Span - span
		p.Span = span
		s.giveBack(p.Flow, back, p.Arrival) // last: it may reorder the line
	}
}

// covers says whether, in every bucket that o names, the level covers o's cost and those of the places before position.
func (s *State) covers(t Micros, l *Limits, o *Op, position int) bool {
	for i := range l.quotas {
		c := o.cost(l.resourceOf[i])
		if c == 0 {
			continue
		}
		j := s.index(l, i)
		if s.Buckets[j].levelAfter(t-s.At) < s.ahead(j, position)+c {
			return false
		}
	}
	return true
}

// ahead is what the places before position protect of bucket j, in units.
func (s *State) ahead(j, position int) float64 {
	sum := 0.0
	for k := range position {
		sum += s.Line[k].Cost[j]
	}
	return sum
}

func (s *State) debit(t Micros, l *Limits, o *Op) {
	s.advance(t)
	for i := range l.quotas {
		if c := o.cost(l.resourceOf[i]); c != 0 {
			s.Buckets[s.index(l, i)].Level -= c
		}
	}
}

// hint returns the instant at which o, at its position, will be covered, and the quota that takes longest (-1: the
// block). Where a bucket can't ever hold what is ahead and o together, that is when it covers the places at the front,
// but not before the first of them is due to poll.
func (s *State) hint(t Micros, l *Limits, o *Op, position int) (at Micros, quota int) {
	at, quota = t, -1
	overfull := false
	for i := range l.quotas {
		c := o.cost(l.resourceOf[i])
		if c == 0 {
			continue
		}
		j := s.index(l, i)
		b := &s.Buckets[j]
		need, over := s.ahead(j, position)+c, false
		if need > b.Cap() {
			need, over = s.front(j, position), true
			overfull = true
		}
		when := t
		if b.levelAfter(t-s.At) < need {
			when = later(s.At, b.timeTo(need))
		} else if !over {
			continue // covered: it doesn't bind
		}
		if when > at || quota < 0 {
			at, quota = when, i
		}
	}
	if overfull {
		at = max(at, t+minOverfull)
		if position > 0 {
			at = max(at, s.Line[0].Due)
		}
	}
	if s.Blocked > at || (s.Blocked > t && s.Blocked == at) {
		at, quota = s.Blocked, -1
	}
	return min(at, t+MaxSpan), quota
}

// hintFurtherBack is hint for one without a place: others age in the line and it doesn't, so that it may stand further
// back by the time that it asks again.
func (s *State) hintFurtherBack(at Micros, quota int, t Micros, l *Limits, o *Op, start float64, position int) (Micros, int) {
	for {
		later := s.positionOf(at, o.Priority, start)
		if later <= position {
			return at, quota
		}
		position = later
		at, quota = s.hint(t, l, o, position)
	}
}

// front is what the places at the front of the line protect of bucket j, as many as the burst can hold.
func (s *State) front(j, position int) float64 {
	sum := 0.0
	for k := range position {
		next := sum + s.Line[k].Cost[j]
		if next > s.Buckets[j].Cap() {
			break
		}
		sum = next
	}
	return sum
}

// served does the bookkeeping of a grant while somebody waits: the place goes, an acquire that had none is charged to
// its flow as if it had, V moves on.
func (s *State) served(own int, start float64, l *Limits, o *Op) {
	span := s.share(l, o) / o.weight()
	if own >= 0 {
		p := s.Line[own]
		s.Line = slices.Delete(s.Line, own, own+1)
		s.giveBack(p.Flow, p.Span-span, p.Arrival) // another cost than it joined with
	} else {
		s.setFinish(o.Flow, start+span)
	}
	if len(s.Line) > 0 {
		s.Virtual = max(s.Virtual, min(start, s.Line[0].Start))
	}
	s.tidy()
}

// join puts o into the line. The names are copied: nothing of an operation is kept, so that callers need not allocate it.
func (s *State) join(t Micros, l *Limits, o *Op, start float64, position int) {
	p := Place{
		ID: strings.Clone(o.Place), Flow: strings.Clone(o.Flow), Priority: o.Priority,
		Start: start, Span: s.share(l, o) / o.weight(),
		Arrival: s.Arrivals, Since: t,
		Cost: make([]float64, len(s.Buckets)),
	}
	s.Arrivals++
	s.setFinish(o.Flow, start+p.Span)
	s.Line = slices.Insert(s.Line, position, p)
}

// leave removes place i and gives its flow back what it had taken, as if it had never joined.
func (s *State) leave(i int) {
	p := s.Line[i]
	s.Line = slices.Delete(s.Line, i, i+1)
	s.giveBack(p.Flow, p.Span, p.Arrival)
	s.tidy()
}

// dropExpired lets the places leave whose leases have run out: all of them, then what the last of them took is given
// back first.
func (s *State) dropExpired(t Micros) {
	dead := 0
	for i := range s.Line {
		if s.Line[i].Lease < t {
			dead++
		}
	}
	if dead == 0 {
		return
	}
	if dead < len(s.Line) { // else no tag survives
		s.giveBackExpired(t, dead)
	}
	s.Line = slices.DeleteFunc(s.Line, func(p Place) bool { return p.Lease < t })
	s.tidy()
}

func (s *State) giveBackExpired(t Micros, dead int) {
	expired := make([]Place, 0, dead)
	live := s.Line[:0:0]
	for _, p := range s.Line {
		if p.Lease < t {
			expired = append(expired, p)
		} else {
			live = append(live, p)
		}
	}
	s.Line = live
	for i := len(expired) - 1; i >= 0; i-- {
		p := &expired[i]
		s.giveBack(p.Flow, p.Span, p.Arrival)
	}
}

// rank is what places of equal priority are ordered by: the tag, and the longer they wait the less of it.
func rank(start float64, since Micros) float64 { return start + float64(since)/ageing }

// positionOf is where a newcomer belongs: after all of its priority that rank up to its own.
func (s *State) positionOf(t Micros, priority int32, start float64) int {
	own := rank(start, t)
	for i := range s.Line {
		p := &s.Line[i]
		if p.Priority < priority || (p.Priority == priority && rank(p.Start, p.Since) > own) {
			return i
		}
	}
	return len(s.Line)
}

// sortLine puts the line in order. Most often it is: then nothing is moved.
func (s *State) sortLine() {
	for i := 1; i < len(s.Line); i++ {
		if comparePlaces(&s.Line[i-1], &s.Line[i]) > 0 {
			slices.SortFunc(s.Line, func(a, b Place) int { return comparePlaces(&a, &b) })
			return
		}
	}
}

func comparePlaces(a, b *Place) int {
	if a.Priority != b.Priority {
		return int(min(1, max(-1, int64(b.Priority)-int64(a.Priority))))
	}
	ra, rb := rank(a.Start, a.Since), rank(b.Start, b.Since)
	switch {
	case ra < rb:
		return -1
	case ra > rb:
		return 1
	}
	return int(min(1, max(-1, a.Arrival-b.Arrival)))
}

// find returns the index of a place, or -1.
func (s *State) find(id string) int {
	for i := range s.Line {
		if s.Line[i].ID == id {
			return i
		}
	}
	return -1
}

// Ready yields the places whose fate is decided if they ask at now, in order: those that would be granted, and those that
// want more than a bucket will ever hold. They are whom to wake after a credit, or after a change of a limit.
func (s *State) Ready(now Micros, yield func(place string) bool) {
	t := max(s.At, min(now, MaxInstant))
	if t < s.Blocked {
		return
	}
	ahead := make([]float64, len(s.Buckets))
	for i := range s.Line {
		p := &s.Line[i]
		if p.Lease < t {
			continue
		}
		covered, never := true, false
		for j, c := range p.Cost {
			b := &s.Buckets[j]
			covered = covered && (c == 0 || b.levelAfter(t-s.At) >= ahead[j]+c)
			never = never || c > b.Cap()
			ahead[j] += c
		}
		if (covered || never) && !yield(p.ID) {
			return
		}
	}
}
