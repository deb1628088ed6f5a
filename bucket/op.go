package bucket

import "math"

// Kind says what an [Op] does.
type Kind uint8

// The operations.
const (
	// Acquire debits Cost from every bucket it names, or from none. With a Place it joins the line when it must wait,
	// and asks again with the same Place (a poll); without, it is refused and leaves no trace.
	Acquire Kind = iota + 1
	// Leave gives up Place. Leaving a line one isn't in is no error: the lease may have run out.
	Leave
	// Adjust adds Cost to the levels: what is positive is a credit (never above the burst), what is negative a debit
	// (below zero it is a debt). It settles a reservation: reserved − actual.
	Adjust
	// Record debits Cost without asking; levels may go below zero.
	Record
	// SetLimit overrides the limit of Quota with Limit (and Burst; 0 keeps the quota's ratio of burst to limit) for
	// everybody who uses the key, until ClearLimit. Levels stay.
	SetLimit
	// ClearLimit removes the override of Quota.
	ClearLimit
	// Block grants nothing until Span from now. A block that is already longer stays; a Span of 0 or less ends it.
	Block
	// Observe says what the provider reports of Quota: Level units remain (NaN: not known), and Limit (0: not known, or
	// not to be followed) is its limit. A level is lowered to what remains, never raised. A limit is followed by an
	// override; one that is the quota's own ends the override.
	Observe
	// Peek changes nothing and returns a copy of the state, levels refilled to now.
	Peek
	// Rebase moves a state whose time lies in the future back to now, levels unchanged. It is for a clock that was set
	// back, and only for a caller that knows so from another clock: a state never moves back by itself, so that no
	// order of nows admits more than the bound. It forgets the batches it remembers, whose instants mean nothing any more.
	Rebase
	kinds
)

var kindNames = [kinds]string{
	Acquire: "acquire", Leave: "leave", Adjust: "adjust", Record: "record", SetLimit: "set-limit",
	ClearLimit: "clear-limit", Block: "block", Observe: "observe", Peek: "peek", Rebase: "rebase",
}

// String returns the operation's name.
func (k Kind) String() string {
	if k < kinds && k > 0 {
		return kindNames[k]
	}
	return "invalid"
}

// Op is one operation on a key. Which fields count, Kind says; the others are ignored.
type Op struct {
	Kind Kind

	// Cost is in units, one for each of the request's [Limits.Resources]; each applies to every bucket of its resource.
	// Acquire and Record take 0 to [MaxUnits], Adjust also negative ones. A missing tail means 0.
	Cost []float64

	// Place names a place in the line: unique for as long as it lasts. Acquire (empty: don't wait) and Leave.
	Place string
	// Priority puts a place before all those of lower priority, which wait for as long as such come.
	Priority int32
	// Flow is who shares: places of the same priority are served fairly between flows. Acquire, Adjust (a credit goes
	// back to the flow's share) and Record. Empty is a flow like any other.
	Flow string
	// Weight is the flow's part relative to others: 0 means 1, otherwise 1e-6 to 1e6.
	Weight float64
	// Poll is the longest time until the caller asks again, and Grace what it may be late by: a place lives until its
	// next poll (at the hint, or after Poll if that is sooner) plus Grace. A Poll of 0 or less means that the caller
	// asks at the hint, however far away.
	Poll, Grace Micros

	// After makes the operation depend on the one before it in the request: it is carried out only if that one was
	// granted, and is Skipped otherwise. So a process offers those who wait behind its head in one request, and only the
	// first who must wait takes a place.
	After bool

	// Quota is an index into the request's [Limits]: SetLimit, ClearLimit, Observe.
	Quota int
	// Limit and Burst are in units: SetLimit; Limit also Observe.
	Limit, Burst float64
	// Level is what remains, in units, by the provider's word: Observe.
	Level float64
	// Span is how long to block: at most [MaxSpan].
	Span Micros
}

// Status is what became of an [Op].
type Status uint8

// The outcomes.
const (
	// Done: the operation, other than Acquire, was carried out.
	Done Status = iota + 1
	// Granted: the cost was debited.
	Granted
	// Refused: not now. [Result.RetryAfter] says when, [Result.Place] where in the line.
	Refused
	// TooLarge: the cost is above the burst of [Result.Quota] and can never be granted.
	TooLarge
	// Invalid: a field is outside its range; nothing changed.
	Invalid
	// Skipped: After was set and the operation before it was not granted; nothing changed.
	Skipped
	// Unknown: the request was a retry, and whether it was applied before can no longer be told; nothing changed.
	Unknown
)

var statusNames = [...]string{Done: "done", Granted: "granted", Refused: "refused", TooLarge: "too-large", Invalid: "invalid", Skipped: "skipped", Unknown: "unknown"}

// String returns the outcome's name.
func (s Status) String() string {
	if int(s) < len(statusNames) && s > 0 {
		return statusNames[s]
	}
	return "none"
}

// Result is what became of an [Op].
type Result struct {
	Status Status
	// Quota is the index, in the request's [Limits], of the quota that binds: Refused (-1: the key is blocked) and
	// TooLarge.
	Quota int
	// RetryAfter, from the request's now, is when a refused acquire is worth asking again; always more than 0. Nothing
	// else happening (no credit, no place given up, no lease run out) it is granted then, and not a microsecond sooner,
	// with two exceptions. Where the places ahead and the cost add up to more than a burst, it is when those at the front
	// should be gone. What is further away than [MaxSpan] is said to be MaxSpan away.
	RetryAfter Micros
	// Place is where a refused acquire stands in the line, 1 for its front; one without a place, where it would stand.
	Place int
	// State is Peek's copy; nil otherwise.
	State *State
}

// Request is what [State.Apply] applies: operations, in order, under limits.
type Request struct {
	// Limits of the key, as the caller knows them. nil means none: then a state's own buckets can only be peeked at,
	// left, blocked and rebased.
	Limits *Limits
	// Ops are applied in order, each seeing what those before it did.
	Ops []Op

	// Batch, if not empty, names this request so that a repeat of it is recognised: what the first one did is not done
	// again, and what it refused is tried anew. It has the form client/number (without a slash the whole is the client)
	// and must be a valid name, see [ValidName], or every operation is Invalid. A client's next batch replaces its last
	// one, so a client has one at a time under way.
	Batch string
	// Retry says that this request may have been applied before, not earlier than Since by the store's clock: the now
	// of an answer that the client got before it first sent this one. A retry that the state doesn't remember is
	// applied if it would be remembered; else every operation is Unknown. So it is when Since is [RetryWindow] or more
	// ago, later than now (the clock was set back), or when batches since then were dropped for want of room.
	Retry bool
	Since Micros
}

// cost returns the cost of resource r, 0 for a missing tail.
func (o *Op) cost(r int) float64 {
	if r < len(o.Cost) {
		return o.Cost[r]
	}
	return 0
}

func (o *Op) weight() float64 {
	if o.Weight == 0 {
		return 1
	}
	return o.Weight
}

// valid says whether every field that counts is in its range.
func (o *Op) valid(l *Limits) bool {
	switch o.Kind {
	case Acquire, Adjust, Record:
		least := 0.0
		if o.Kind == Adjust {
			least = -MaxUnits
		}
		if len(o.Cost) > len(l.resources) {
			return false
		}
		for _, c := range o.Cost {
			if !(c >= least && c <= MaxUnits) {
				return false
			}
		}
		if (o.Weight != 0 && !(o.Weight >= 1e-6 && o.Weight <= 1e6)) || (o.Flow != "" && !ValidName(o.Flow)) {
			return false
		}
		return o.Kind != Acquire || o.Place == "" || (ValidName(o.Place) && o.Poll <= MaxSpan && o.Grace >= 0 && o.Grace <= MaxSpan)
	case Leave:
		return ValidName(o.Place)
	case SetLimit:
		return o.quotaIn(l) && o.Limit > 0 && o.Limit <= MaxUnits && o.Burst >= 0 && o.Burst <= MaxUnits
	case ClearLimit:
		return o.quotaIn(l)
	case Observe:
		known := !math.IsNaN(o.Level)
		return o.quotaIn(l) && !(known && math.Abs(o.Level) > MaxUnits) && o.Limit >= 0 && o.Limit <= MaxUnits
	case Block:
		return o.Span <= MaxSpan
	case Peek, Rebase:
		return true
	}
	return false
}

func (o *Op) quotaIn(l *Limits) bool { return o.Quota >= 0 && o.Quota < len(l.quotas) }
