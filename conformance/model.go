package conformance

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// model is what a store must amount to: the arithmetic over a map. Its clock is the one that responses tell.
//
// It can't see whether a driver names its batches. One that does remembers the names in the state for a while, which
// then doesn't equal an absent one though all its buckets are full: and such a state keeps its levels when its quotas
// are resized, where an absent one starts full. So the model keeps all states that a key may hold, by what was told.
type model struct {
	states map[string][]*bucket.State
	latest bucket.Micros // the furthest that the clock was seen: keys may be dropped by it, though it stepped back since
}

func newModel() *model { return &model{states: map[string][]*bucket.State{}} }

// follow applies a batch to the model, each request at the instant its response tells, and returns how the responses
// differ from what they should be.
func (m *model) follow(batch []driver.Request, responses []driver.Response) []string {
	var wrong []string
	for i := range batch {
		for _, w := range m.request(&batch[i], &responses[i]) {
			wrong = append(wrong, fmt.Sprintf("request %d of %d, on %s: %s", i+1, len(batch), show(batch[i].Key), w))
		}
	}
	return wrong
}

func (m *model) request(r *driver.Request, got *driver.Response) []string {
	m.latest = max(m.latest, got.Now)
	before, used := m.states[r.Key]
	var dropped string
	switch {
	case !used && !got.Absent:
		dropped = "Absent is false for a key that was never used"
	case used && got.Absent && m.absentAt(r.Key) > m.latest:
		dropped = fmt.Sprintf("the key was dropped by %d, it equals an absent one only at %d", m.latest, m.absentAt(r.Key))
	}
	if !used || got.Absent {
		before = []*bucket.State{{}}
	}
	var after []*bucket.State
	var wrong []string
	for _, s := range before {
		for _, s := range variants(s, r, got) {
			results := make([]bucket.Result, len(r.Ops))
			s.Apply(got.Now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, results)
			s.Batches = nil
			differs := m.differences(r, got, s, results)
			if len(differs) == 0 && !slices.ContainsFunc(after, func(o *bucket.State) bool { return diffState(s, o) == "" }) {
				after = append(after, s)
			} else if wrong == nil {
				wrong = differs
			}
		}
	}
	if len(after) == 0 {
		after = before // what it really is, nobody knows
	} else {
		wrong = nil
	}
	m.states[r.Key] = after
	if dropped != "" {
		wrong = append([]string{dropped}, wrong...)
	}
	return wrong
}

// variants are copies of a state without names of batches and, where that may make a difference, with one.
func variants(s *bucket.State, r *driver.Request, got *driver.Response) []*bucket.State {
	plain := s.Clone()
	if r.Limits == nil || got.Absent || !s.Absent(max(s.At, got.Now)) {
		return []*bucket.State{plain}
	}
	named := s.Clone()
	named.Batches = []bucket.Batch{{ID: "conformance/0", At: max(s.At, got.Now)}}
	return []*bucket.State{plain, named}
}

// differences compares a response with what it should be, if s is what became of the state.
func (m *model) differences(r *driver.Request, got *driver.Response, s *bucket.State, want []bucket.Result) []string {
	var wrong []string
	for i := range want {
		if d := diffResult(&got.Results[i], &want[i]); d != "" {
			wrong = append(wrong, fmt.Sprintf("result %d of %s: %s", i, showOps(r.Ops), d))
		}
	}
	if at := s.AbsentAt(); !m.sameAbsentAt(got, at) {
		wrong = append(wrong, fmt.Sprintf("AbsentAt is %d, want %d (now is %d)", got.AbsentAt, at, got.Now))
	}
	if got.Waiting != len(s.Line) {
		wrong = append(wrong, fmt.Sprintf("Waiting is %d, want %d", got.Waiting, len(s.Line)))
	}
	return wrong
}

// absentAt is the first instant at which the key may equal an absent one.
func (m *model) absentAt(key string) bucket.Micros {
	at := bucket.Forever
	for _, s := range m.states[key] {
		at = min(at, s.AbsentAt())
	}
	return at
}

// sameAbsentAt compares the instant that a response tells with the model's. A driver that names its batches remembers
// them for a while longer. A key that is back to nothing has no one such instant.
func (m *model) sameAbsentAt(got *driver.Response, at bucket.Micros) bool {
	if at <= got.Now && got.AbsentAt <= got.Now {
		return true
	}
	return got.AbsentAt >= at && got.AbsentAt <= max(at, m.latest+bucket.RetryWindow)
}

// diffResult compares the fields that say something for the status.
func diffResult(got, want *bucket.Result) string {
	switch {
	case got.Status != want.Status:
		return fmt.Sprintf("status is %v, want %v", got.Status, want.Status)
	case (got.State != nil) != (want.State != nil):
		return fmt.Sprintf("there is a state: %v, want %v", got.State != nil, want.State != nil)
	case want.State != nil:
		return diffState(got.State, want.State)
	case want.Status == bucket.Refused && (got.Quota != want.Quota || got.RetryAfter != want.RetryAfter || got.Place != want.Place):
		return fmt.Sprintf("refused by quota %d for %d µs at place %d, want %d, %d, %d", got.Quota, got.RetryAfter, got.Place, want.Quota, want.RetryAfter, want.Place)
	case want.Status == bucket.TooLarge && got.Quota != want.Quota:
		return fmt.Sprintf("too large for quota %d, want %d", got.Quota, want.Quota)
	}
	return ""
}

// diffState compares two states but for the batches they remember, which are the driver's own affair.
func diffState(got, want *bucket.State) string {
	switch {
	case got.At != want.At:
		return fmt.Sprintf("state is of %d, want %d", got.At, want.At)
	case got.Blocked != want.Blocked:
		return fmt.Sprintf("blocked until %d, want %d", got.Blocked, want.Blocked)
	case got.Kept != want.Kept:
		return fmt.Sprintf("kept until %d, want %d", got.Kept, want.Kept)
	case !slices.Equal(got.Buckets, want.Buckets):
		return fmt.Sprintf("buckets are %+v, want %+v", got.Buckets, want.Buckets)
	case !slices.EqualFunc(got.Line, want.Line, samePlace):
		return fmt.Sprintf("line is %+v, want %+v", got.Line, want.Line)
	case got.Virtual != want.Virtual || got.Arrivals != want.Arrivals:
		return fmt.Sprintf("virtual time %v and arrivals %d, want %v and %d", got.Virtual, got.Arrivals, want.Virtual, want.Arrivals)
	case !slices.Equal(sortedFlows(got), sortedFlows(want)):
		return fmt.Sprintf("flows are %+v, want %+v", got.Flows, want.Flows)
	}
	return ""
}

func samePlace(a, b bucket.Place) bool {
	return a.ID == b.ID && a.Flow == b.Flow && a.Priority == b.Priority && a.Start == b.Start && a.Span == b.Span &&
		a.Arrival == b.Arrival && slices.Equal(a.Cost, b.Cost) && a.Since == b.Since && a.Due == b.Due && a.Lease == b.Lease
}

func sortedFlows(s *bucket.State) []bucket.Flow {
	return slices.SortedFunc(slices.Values(s.Flows), func(a, b bucket.Flow) int { return cmp.Compare(a.Name, b.Name) })
}

// keys are all keys that were used, sorted.
func (m *model) keys() []string { return slices.Sorted(maps.Keys(m.states)) }

// show is a key short enough to print.
func show(key string) string {
	if len(key) > 40 {
		return fmt.Sprintf("%.40q… (%d bytes)", key, len(key))
	}
	return fmt.Sprintf("%q", key)
}

func showOps(ops []bucket.Op) string {
	const most = 8
	var b strings.Builder
	for i, o := range ops {
		if i == most {
			fmt.Fprintf(&b, " … (%d operations)", len(ops))
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(o.Kind.String())
		if len(o.Cost) > 0 && len(o.Cost) <= most {
			fmt.Fprint(&b, o.Cost)
		}
	}
	return b.String()
}
