package bucket_test

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/tokenthrottle/throttle/bucket"
)

// oracle is the arithmetic over again, written from the design's rules in exact rationals: nothing in it rounds, and it
// shares no code with package bucket.
type oracle struct {
	at        bucket.Micros
	buckets   []*oracleBucket
	blocked   bucket.Micros
	kept      bucket.Micros
	places    []*oraclePlace
	finish    map[string]*big.Rat
	v         *big.Rat
	arrivals  int64
	batches   []oracleBatch
	forgotten bucket.Micros
}

type oracleBucket struct {
	quota     bucket.Quota
	level     *big.Rat
	overLimit float64
	overBurst float64
}

type oraclePlace struct {
	id, flow    string
	priority    int32
	start, span *big.Rat
	arrival     int64
	cost        map[*oracleBucket]*big.Rat
	since       bucket.Micros
	due, lease  bucket.Micros
}

type oracleBatch struct {
	client, id string
	at         bucket.Micros
	done       []bool
}

func newOracle() *oracle { return &oracle{finish: map[string]*big.Rat{}, v: new(big.Rat)} }

func rat(f float64) *big.Rat                { return new(big.Rat).SetFloat64(f) }
func ratOf(m bucket.Micros) *big.Rat        { return new(big.Rat).SetInt64(int64(m)) }
func add(a, b *big.Rat) *big.Rat            { return new(big.Rat).Add(a, b) }
func sub(a, b *big.Rat) *big.Rat            { return new(big.Rat).Sub(a, b) }
func mul(a, b *big.Rat) *big.Rat            { return new(big.Rat).Mul(a, b) }
func div(a, b *big.Rat) *big.Rat            { return new(big.Rat).Quo(a, b) }
func smaller(a, b *big.Rat) *big.Rat        { return slices.MinFunc([]*big.Rat{a, b}, (*big.Rat).Cmp) }
func larger(a, b *big.Rat) *big.Rat         { return slices.MaxFunc([]*big.Rat{a, b}, (*big.Rat).Cmp) }
func (b *oracleBucket) over() bool          { return b.overLimit > 0 }
func (o *oracle) slack() *big.Rat           { return ratOf(bucket.Minute) }
func (o *oracle) floor(r *big.Rat) *big.Rat { return larger(sub(o.v, o.slack()), r) }

func (b *oracleBucket) rate() *big.Rat { // units a microsecond
	limit := b.quota.Limit
	if b.over() {
		limit = b.overLimit
	}
	return div(rat(limit), ratOf(b.quota.Per))
}

func (b *oracleBucket) cap() *big.Rat {
	if b.over() {
		return rat(b.overBurst)
	}
	return rat(b.quota.Burst)
}

// levelAt is the level at t, of which the bucket's own is as of at.
func (b *oracleBucket) levelAt(at, t bucket.Micros) *big.Rat {
	return smaller(b.cap(), add(b.level, mul(b.rate(), ratOf(max(0, t-at)))))
}

// reaches is the first instant at which the level is at least need.
func (b *oracleBucket) reaches(at bucket.Micros, need *big.Rat) bucket.Micros {
	if b.level.Cmp(need) >= 0 {
		return at
	}
	dt := div(sub(need, b.level), b.rate())
	whole := new(big.Int).Quo(new(big.Int).Add(dt.Num(), new(big.Int).Sub(dt.Denom(), big.NewInt(1))), dt.Denom())
	if !whole.IsInt64() || whole.Int64() >= int64(bucket.MaxSpan) {
		return bucket.Forever
	}
	return at + bucket.Micros(whole.Int64())
}

func (o *oracle) advance(t bucket.Micros) {
	for _, b := range o.buckets {
		b.level = b.levelAt(o.at, t)
	}
	o.at = max(o.at, t)
}

func (o *oracle) absentAt() bucket.Micros {
	at := max(o.at, o.blocked, o.kept)
	for _, p := range o.places {
		at = max(at, p.lease+1)
	}
	for _, b := range o.batches {
		at = max(at, b.at+bucket.RetryWindow)
	}
	if o.forgotten > 0 {
		at = max(at, o.forgotten+bucket.RetryWindow)
	}
	for _, b := range o.buckets {
		if b.over() {
			return bucket.Forever
		}
		at = max(at, b.reaches(o.at, b.cap()))
	}
	return at
}

// request is what a request under limits does at now.
func (o *oracle) request(now bucket.Micros, r *bucket.Request) []bucket.Result {
	now = max(0, min(now, bucket.MaxInstant))
	o.expire(max(now, o.at))
	if o.kept <= max(now, o.at) {
		o.kept = 0
	}
	named := o.align(now, r.Limits)
	results := make([]bucket.Result, len(r.Ops))
	var done []bool
	if r.Batch != "" {
		t := max(now, o.at)
		i := slices.IndexFunc(o.batches, func(b oracleBatch) bool { return b.id == r.Batch })
		switch {
		case i >= 0:
			done = o.batches[i].done
		case r.Retry && (r.Since > t || t-r.Since >= bucket.RetryWindow || o.forgotten > 0 && o.forgotten >= r.Since):
			for i := range results {
				results[i].Status = bucket.Unknown
			}
			return results
		}
	}
	took := make([]bool, len(r.Ops))
	for i := range r.Ops {
		op, res := &r.Ops[i], &results[i]
		switch {
		case i < len(done) && done[i] && op.Kind == bucket.Acquire:
			res.Status = bucket.Granted
		case i < len(done) && done[i] && op.Kind != bucket.Peek:
			res.Status = bucket.Done
		case op.After && (i == 0 || results[i-1].Status != bucket.Granted):
			res.Status = bucket.Skipped
		default:
			*res = o.do(now, r.Limits, named, op)
		}
		took[i] = res.Status == bucket.Done || res.Status == bucket.Granted
	}
	if r.Batch != "" {
		o.remember(oracleBatch{clientOf(r.Batch), r.Batch, max(now, o.at), took})
	}
	return results
}

func clientOf(id string) string {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i] == '/' {
			return id[:i]
		}
	}
	return id
}

func (o *oracle) remember(b oracleBatch) {
	o.batches = slices.DeleteFunc(o.batches, func(old oracleBatch) bool { return old.client == b.client || b.at-old.at >= bucket.RetryWindow })
	if len(o.batches) == bucket.MaxBatches {
		o.forgotten = max(o.forgotten, o.batches[0].at)
		o.batches = o.batches[1:]
	}
	o.batches = append(o.batches, b)
}

// align returns the bucket of each quota of l.
func (o *oracle) align(now bucket.Micros, l *bucket.Limits) []*oracleBucket {
	if l == nil {
		return nil
	}
	same := l.Len() == len(o.buckets)
	for i := 0; same && i < l.Len(); i++ {
		same = o.buckets[i].quota == l.Quota(i)
	}
	if !same {
		o.advance(now)
		if o.absentAt() <= o.at {
			o.buckets = nil
		}
		o.buckets = slices.DeleteFunc(o.buckets, func(b *oracleBucket) bool {
			needed := slices.ContainsFunc(o.places, func(p *oraclePlace) bool { return p.cost[b] != nil && p.cost[b].Sign() > 0 })
			return o.kept <= o.at && l.Find(b.quota.Resource, b.quota.Per) < 0 && !b.over() && !needed && b.level.Cmp(b.cap()) == 0
		})
	}
	named := make([]*oracleBucket, l.Len())
	for i := range named {
		q := l.Quota(i)
		k := slices.IndexFunc(o.buckets, func(b *oracleBucket) bool { return b.quota.Resource == q.Resource && b.quota.Per == q.Per })
		if k < 0 {
			o.buckets = append(o.buckets, &oracleBucket{level: rat(q.Burst)})
			k = len(o.buckets) - 1
		}
		named[i] = o.buckets[k]
		if own := (&oracleBucket{quota: named[i].quota, level: named[i].level}); q.Burst < own.quota.Burst && own.level.Cmp(own.cap()) < 0 {
			o.kept = max(o.kept, min(own.reaches(o.at, own.cap()), o.at+bucket.MaxSpan))
		}
		named[i].quota = q
		named[i].level = smaller(named[i].level, named[i].cap())
	}
	slices.SortFunc(o.buckets, func(a, b *oracleBucket) int {
		return cmp.Or(cmp.Compare(a.quota.Resource, b.quota.Resource), cmp.Compare(a.quota.Per, b.quota.Per))
	})
	return named
}

func (o *oracle) do(now bucket.Micros, l *bucket.Limits, named []*oracleBucket, op *bucket.Op) bucket.Result {
	t := max(now, o.at)
	cost := map[*oracleBucket]*big.Rat{}
	if op.Kind == bucket.Acquire || op.Kind == bucket.Adjust || op.Kind == bucket.Record {
		for i, b := range named {
			c := 0.0
			if r := l.ResourceOf(i); r < len(op.Cost) {
				c = op.Cost[r]
			}
			cost[b] = rat(c)
		}
	}
	switch op.Kind {
	case bucket.Acquire:
		return o.acquire(now, named, cost, op)
	case bucket.Leave:
		if p := o.find(op.Place); p != nil {
			o.leave(p)
		}
	case bucket.Adjust:
		o.change(t, named, cost, op, 1)
	case bucket.Record:
		o.change(t, named, cost, op, -1)
	case bucket.SetLimit:
		o.override(t, named[op.Quota], op.Limit, op.Burst)
	case bucket.ClearLimit:
		o.override(t, named[op.Quota], 0, 0)
	case bucket.Block:
		o.blocked = max(o.blocked, t+op.Span)
		if op.Span <= 0 {
			o.blocked = 0
		}
	case bucket.Observe:
		b := named[op.Quota]
		if op.Limit > 0 && div(rat(op.Limit), ratOf(b.quota.Per)).Cmp(b.rate()) != 0 {
			limit := op.Limit
			if limit == b.quota.Limit {
				limit = 0
			}
			o.override(t, b, limit, 0)
		}
		if !math.IsNaN(op.Level) && rat(op.Level).Cmp(b.levelAt(o.at, t)) < 0 {
			o.advance(t)
			b.level = rat(op.Level)
		}
	case bucket.Rebase:
		o.rebase(now)
	}
	return bucket.Result{Status: bucket.Done}
}

func (o *oracle) override(t bucket.Micros, b *oracleBucket, limit, burst float64) {
	o.advance(t)
	if limit > 0 && burst == 0 {
		burst, _ = div(mul(rat(limit), rat(b.quota.Burst)), rat(b.quota.Limit)).Float64()
		burst = min(burst, bucket.MaxUnits)
	}
	b.overLimit, b.overBurst = limit, burst
	b.level = smaller(b.level, b.cap())
}

func (o *oracle) rebase(now bucket.Micros) {
	back := o.at - now
	if back <= 0 {
		return
	}
	if len(o.batches) > 0 || o.forgotten > 0 {
		o.batches, o.forgotten = nil, o.at
	}
	o.at, o.blocked, o.kept = now, max(0, o.blocked-back), max(0, o.kept-back)
	for _, p := range o.places {
		p.since, p.due, p.lease = max(0, p.since-back), max(0, p.due-back), p.lease-back
	}
}

func (o *oracle) find(id string) *oraclePlace {
	i := slices.IndexFunc(o.places, func(p *oraclePlace) bool { return p.id == id })
	if i < 0 {
		return nil
	}
	return o.places[i]
}

// line is the places in the order in which they are to be served.
func (o *oracle) line() []*oraclePlace {
	rank := func(p *oraclePlace) *big.Rat { return add(p.start, div(ratOf(p.since), rat(8))) }
	return slices.SortedFunc(slices.Values(o.places), func(a, b *oraclePlace) int {
		return cmp.Or(-cmp.Compare(a.priority, b.priority), rank(a).Cmp(rank(b)), cmp.Compare(a.arrival, b.arrival))
	})
}

// share is the longest that any bucket takes to refill a cost.
func (o *oracle) share(cost map[*oracleBucket]*big.Rat, op *bucket.Op, named []*oracleBucket) *big.Rat {
	most := new(big.Rat)
	for _, b := range named {
		if part := div(cost[b], b.rate()); new(big.Rat).Abs(part).Cmp(new(big.Rat).Abs(most)) > 0 {
			most = part
		}
	}
	most = larger(rat(-float64(bucket.MaxSpan)), smaller(rat(float64(bucket.MaxSpan)), most))
	weight := op.Weight
	if weight == 0 {
		weight = 1
	}
	return div(most, rat(weight))
}

func (o *oracle) startOf(flow string) *big.Rat {
	if f := o.finish[flow]; f != nil {
		return o.floor(f)
	}
	return o.v
}

// giveBack moves a flow's tag, and its places that came after arrival, back by amount.
func (o *oracle) giveBack(flow string, amount *big.Rat, after int64) {
	if amount.Sign() == 0 {
		return
	}
	for _, p := range o.places {
		if p.flow == flow && p.arrival > after {
			p.start = o.floor(sub(p.start, amount))
		}
	}
	if amount.Sign() < 0 || o.finish[flow] != nil {
		o.finish[flow] = o.floor(sub(o.startOf(flow), amount))
	}
}

func (o *oracle) remove(p *oraclePlace) {
	o.places = slices.DeleteFunc(o.places, func(q *oraclePlace) bool { return q == p })
}

func (o *oracle) tidy() {
	if len(o.places) == 0 {
		o.finish, o.v, o.arrivals = map[string]*big.Rat{}, new(big.Rat), 0
	}
	for name, f := range o.finish {
		if f.Cmp(sub(o.v, o.slack())) < 0 {
			delete(o.finish, name)
		}
	}
}

func (o *oracle) leave(p *oraclePlace) {
	o.remove(p)
	o.giveBack(p.flow, p.span, p.arrival)
	o.tidy()
}

func (o *oracle) expire(t bucket.Micros) {
	line := o.line()
	slices.Reverse(line)
	var dead []*oraclePlace
	for _, p := range line {
		if p.lease < t {
			o.remove(p)
			dead = append(dead, p)
		}
	}
	for _, p := range dead {
		o.giveBack(p.flow, p.span, p.arrival)
	}
	o.tidy()
}

func (o *oracle) change(t bucket.Micros, named []*oracleBucket, cost map[*oracleBucket]*big.Rat, op *bucket.Op, sign float64) {
	o.advance(t)
	for _, b := range named {
		b.level = smaller(b.cap(), add(b.level, mul(rat(sign), cost[b])))
	}
	if len(o.places) > 0 {
		o.giveBack(op.Flow, mul(rat(sign), o.share(cost, op, named)), -1)
	}
}

func (o *oracle) acquire(now bucket.Micros, named []*oracleBucket, cost map[*oracleBucket]*big.Rat, op *bucket.Op) bucket.Result {
	t := max(now, o.at)
	var own *oraclePlace
	if op.Place != "" {
		own = o.find(op.Place)
	}
	for i, b := range named {
		if cost[b].Cmp(b.cap()) > 0 {
			if own != nil {
				o.leave(own)
			}
			return bucket.Result{Status: bucket.TooLarge, Quota: i}
		}
	}
	if own != nil && (own.flow != op.Flow || own.priority != op.Priority) {
		o.leave(own)
		own = nil
	}
	span := o.share(cost, op, named)
	me := own
	if own == nil { // stands in line for a moment, to see where that is
		me = &oraclePlace{id: op.Place, flow: op.Flow, priority: op.Priority, start: o.startOf(op.Flow), span: span, arrival: o.arrivals, since: t, cost: map[*oracleBucket]*big.Rat{}}
		o.places = append(o.places, me)
	}
	line := o.line()
	position := slices.Index(line, me)
	o.remove(me)
	line = o.line()
	at, quota, covered := o.hint(t, named, cost, line[:position])
	if covered {
		o.advance(t)
		for _, b := range named {
			b.level = sub(b.level, cost[b])
		}
		if own != nil || len(o.places) > 0 {
			if own != nil {
				o.giveBack(own.flow, sub(own.span, span), own.arrival)
			} else {
				o.finish[op.Flow] = o.floor(add(me.start, span))
			}
			if rest := o.line(); len(rest) > 0 {
				o.v = larger(o.v, smaller(me.start, rest[0].start))
			}
			o.tidy()
		}
		return bucket.Result{Status: bucket.Granted}
	}
	for behind := position; op.Place == ""; { // asked again then, it may stand further back: others age
		me.since = at
		o.places = append(o.places, me)
		then := slices.Index(o.line(), me)
		o.remove(me)
		if then <= behind {
			break
		}
		behind = then
		at, quota, _ = o.hint(t, named, cost, line[:behind])
	}
	res := bucket.Result{Status: bucket.Refused, Quota: quota, RetryAfter: at - now, Place: position + 1}
	if op.Place == "" {
		return res
	}
	o.places = append(o.places, me)
	if own == nil {
		o.arrivals++
		o.finish[op.Flow] = o.floor(add(me.start, span))
	}
	for _, b := range named {
		me.cost[b] = cost[b]
	}
	me.due = at
	if op.Poll > 0 {
		me.due = min(at, t+op.Poll)
	}
	me.lease = me.due + op.Grace
	back := sub(me.span, span)
	me.span = span
	o.giveBack(me.flow, back, me.arrival)
	return res
}

// differs says where a state differs from what the oracle holds, exactly; empty if nowhere.
func (o *oracle) differs(s *bucket.State) string {
	switch {
	case s.At != o.at || s.Blocked != o.blocked || s.Kept != o.kept || s.Forgotten != o.forgotten:
		return fmt.Sprintf("at %d, blocked %d, kept %d, forgotten %d: want %d, %d, %d, %d", s.At, s.Blocked, s.Kept, s.Forgotten, o.at, o.blocked, o.kept, o.forgotten)
	case len(s.Buckets) != len(o.buckets) || len(s.Line) != len(o.places) || len(s.Flows) != len(o.finish) || len(s.Batches) != len(o.batches):
		return fmt.Sprintf("%d buckets, %d places, %d tags, %d batches: want %d, %d, %d, %d", len(s.Buckets), len(s.Line), len(s.Flows), len(s.Batches), len(o.buckets), len(o.places), len(o.finish), len(o.batches))
	case rat(s.Virtual).Cmp(o.v) != 0 || s.Arrivals != o.arrivals:
		return fmt.Sprintf("V %v after %d arrivals: want %v, %d", s.Virtual, s.Arrivals, o.v, o.arrivals)
	}
	for i, b := range o.buckets {
		if got := s.Buckets[i]; rat(got.Level).Cmp(b.level) != 0 || got.Quota != b.quota || got.OverLimit != b.overLimit || got.OverBurst != b.overBurst {
			return fmt.Sprintf("bucket %d: %+v: want level %v, %+v", i, got, b.level.FloatString(9), *b)
		}
	}
	for i, p := range o.line() {
		got := s.Line[i]
		if got.ID != p.id || rat(got.Start).Cmp(p.start) != 0 || rat(got.Span).Cmp(p.span) != 0 || got.Due != p.due || got.Lease != p.lease || got.Since != p.since || got.Arrival != p.arrival {
			return fmt.Sprintf("place %d: %+v: want %s, start %v, span %v, due %d, lease %d, since %d, arrival %d", i, got, p.id, p.start.FloatString(3), p.span.FloatString(3), p.due, p.lease, p.since, p.arrival)
		}
		for k, b := range o.buckets {
			if want := p.cost[b]; want != nil && rat(got.Cost[k]).Cmp(want) != 0 || want == nil && got.Cost[k] != 0 {
				return fmt.Sprintf("place %d: cost %v of bucket %d: want %v", i, got.Cost, k, want)
			}
		}
	}
	for _, f := range s.Flows {
		if want := o.finish[f.Name]; want == nil || rat(f.Finish).Cmp(want) != 0 {
			return fmt.Sprintf("tag of flow %q: %v, want %v", f.Name, f.Finish, want)
		}
	}
	return ""
}

// hint says when a cost behind the places ahead is covered, which quota binds, and whether it is covered at t.
func (o *oracle) hint(t bucket.Micros, named []*oracleBucket, cost map[*oracleBucket]*big.Rat, before []*oraclePlace) (at bucket.Micros, quota int, covered bool) {
	at, quota, covered = t, -1, t >= o.blocked
	overfull := false
	for i, b := range named {
		if cost[b].Sign() == 0 {
			continue
		}
		ahead, front := new(big.Rat), new(big.Rat) // front: as many of those at the front as the burst holds
		open := true
		for _, p := range before {
			if c := p.cost[b]; c != nil {
				ahead = add(ahead, c)
			}
			if open = open && ahead.Cmp(b.cap()) <= 0; open {
				front = ahead
			}
		}
		need, over := add(ahead, cost[b]), false
		if b.levelAt(o.at, t).Cmp(need) < 0 {
			covered = false
		}
		if need.Cmp(b.cap()) > 0 {
			need, over, overfull = front, true, true
		}
		when := max(t, b.reaches(o.at, need))
		if when == t && !over {
			continue
		}
		if when > at || quota < 0 {
			at, quota = when, i
		}
	}
	if overfull {
		at = max(at, t+1000)
		if len(before) > 0 {
			at = max(at, before[0].due)
		}
	}
	if o.blocked > at || o.blocked > t && o.blocked == at {
		at, quota = o.blocked, -1
	}
	return min(at, t+bucket.MaxSpan), quota, covered
}
