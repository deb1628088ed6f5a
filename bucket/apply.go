package bucket

// Apply carries out a request at now, in order, and stores what became of its operations in results, which must be at
// least as long as the request's. A now before [State.At] counts as At: time never runs backwards inside a state.
//
// It keeps these rules:
//
//   - An acquire debits every bucket it names, or none; a refused one changes no level.
//   - Over any interval no more than burst + rate·Δt + credits is admitted, whatever the order of nows; Δt is from the
//     earliest to the latest instant that counted.
//   - A credit never raises a level above the burst; a debt stays until refill or credit pays it.
//   - An acquire is granted when, in every bucket it names, the level covers its cost and the costs of all places before
//     it in the line.
//   - A place whose lease has run out is dropped before anything else.
//
// Apply allocates nothing for a request without a Batch, on a key whose buckets match the request's limits and whose
// line nobody joins or drops out of.
func (s *State) Apply(now Micros, r *Request, results []Result) {
	results = results[:len(r.Ops)]
	now, t, limits := s.begin(now, r.Limits)
	if r.Batch == "" {
		for i := range r.Ops {
			if r.Ops[i].After && !granted(results, i-1) {
				results[i] = Result{Status: Skipped}
				continue
			}
			s.apply(now, t, limits, &r.Ops[i], &results[i])
			t = max(now, s.At) // Rebase moves At back
		}
		return
	}
	s.applyOnce(now, t, limits, r, results)
}

// Do is Apply of a request with one operation and no Batch; nil limits are none. It keeps nothing of o or res, so that
// both can be made where they are needed without being allocated.
func (s *State) Do(now Micros, l *Limits, o *Op, res *Result) {
	now, t, limits := s.begin(now, l)
	if o.After {
		*res = Result{Status: Skipped}
		return
	}
	s.apply(now, t, limits, o, res)
}

// begin does what comes before the operations of a request. now is brought into its range; t is the instant that counts.
func (s *State) begin(now Micros, l *Limits) (_, t Micros, limits *Limits) {
	now = max(0, min(now, MaxInstant))
	t = max(now, s.At)
	if len(s.Line) > 0 {
		s.dropExpired(t)
	}
	if s.Kept != 0 && s.Kept <= t {
		s.Kept = 0
	}
	if l == nil {
		return now, t, noLimits
	}
	s.align(now, l)
	return now, t, l
}

func granted(results []Result, i int) bool { return i >= 0 && results[i].Status == Granted }

var noLimits = &Limits{}

func (s *State) apply(now, t Micros, l *Limits, o *Op, res *Result) {
	if res.State != nil { // else there is no pointer to write, which costs more than the rest
		res.State = nil
	}
	res.Status, res.Quota, res.RetryAfter, res.Place = Done, 0, 0, 0
	if !o.valid(l) {
		res.Status = Invalid
		return
	}
	switch o.Kind {
	case Acquire:
		s.acquire(now, t, l, o, res)
	case Leave:
		if i := s.find(o.Place); i >= 0 {
			s.leave(i)
		}
	case Adjust:
		s.adjust(t, l, o, 1)
	case Record:
		s.adjust(t, l, o, -1)
	case SetLimit:
		s.override(t, &s.Buckets[s.index(l, o.Quota)], o.Limit, o.Burst)
	case ClearLimit:
		s.override(t, &s.Buckets[s.index(l, o.Quota)], 0, 0)
	case Block:
		if o.Span <= 0 {
			s.Blocked = 0
		} else {
			s.Blocked = max(s.Blocked, t+o.Span)
		}
	case Observe:
		s.observe(t, l, o)
	case Peek:
		res.State = s.Clone()
		res.State.advance(t)
	case Rebase:
		s.rebase(now)
	}
}

// adjust adds sign·cost to every bucket that the cost names, and gives back to, or takes from, the flow's share.
func (s *State) adjust(t Micros, l *Limits, o *Op, sign float64) {
	if len(s.Line) == 0 && s.aligned == l {
		s.credit(t, l, o, sign)
		return
	}
	s.advance(t)
	for i := range l.quotas {
		if c := o.cost(l.resourceOf[i]); c != 0 {
			b := &s.Buckets[s.index(l, i)]
			b.Level = min(b.Level+float64(sign*c), b.Cap())
		}
	}
	if len(s.Line) > 0 {
		s.giveBack(o.Flow, float64(sign*s.share(l, o))/o.weight(), -1)
	}
}

// override sets a bucket's limit at run time; a limit of 0 ends the override. The level stays, within the new burst.
func (s *State) override(t Micros, b *Bucket, limit, burst float64) {
	s.advance(t)
	if limit > 0 && burst == 0 {
		burst = min(float64(limit*b.Burst)/b.Limit, MaxUnits)
	}
	b.OverLimit, b.OverBurst = limit, burst
	b.Level = min(b.Level, b.Cap())
}

// observe takes the provider's word: what remains lowers a level, its limit, where given, overrides ours.
func (s *State) observe(t Micros, l *Limits, o *Op) {
	b := &s.Buckets[s.index(l, o.Quota)]
	switch {
	case o.Limit == 0 || o.Limit == b.Rate():
	case o.Limit == b.Limit:
		s.override(t, b, 0, 0)
	default:
		s.override(t, b, o.Limit, 0)
	}
	if o.Level < b.levelAfter(t-s.At) { // false for NaN: not known
		s.advance(t)
		b.Level = o.Level
	}
}

// rebase moves a state that lies in the future back to now, with all its instants; levels stay.
func (s *State) rebase(now Micros) {
	back := s.At - now
	if back <= 0 {
		return
	}
	if len(s.Batches) > 0 || s.Forgotten > 0 {
		s.Batches, s.Forgotten = s.Batches[:0], s.At
	}
	s.At = now
	s.Blocked, s.Kept = max(0, s.Blocked-back), max(0, s.Kept-back)
	for i := range s.Line {
		p := &s.Line[i]
		p.Since, p.Due, p.Lease = max(0, p.Since-back), max(0, p.Due-back), p.Lease-back
	}
	s.sortLine() // ranks round to other bits
}
