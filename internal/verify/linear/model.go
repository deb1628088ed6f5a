package linear

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/tokenthrottle/throttle/bucket"
)

// limits refill so slowly that a history of seconds sees none of it: what a call finds depends on what others did and
// on nothing else, also where it isn't known when they did it.
var limits = func() *bucket.Limits {
	l, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 40, Per: bucket.MaxSpan},
		bucket.Quota{Resource: "tokens", Limit: 1000, Per: bucket.MaxSpan})
	if err != nil {
		panic(err)
	}
	return l
}()

// instant is when everything happens in the model. What refills meanwhile in the store is less than a thousandth of a
// unit, and all costs are whole.
const instant = 1_000_000 * bucket.Hour

// request is what a caller asked for.
type request struct {
	id   int // its own in a history
	ops  []bucket.Op
	part part
}

// part is what of a request a step of the model does.
type part int

const (
	whole part = iota // all of it, in one instant
	first             // all of it, in one instant; or what is left over is done by its rest
	rest              // in a second instant, what had no effect in the first one
)

// outcome is what a caller saw of a request.
type outcome struct {
	unknown  bool
	failed   bool // for certain: nothing was done
	statuses []bucket.Status
}

// snapshot is a state of the model: one key's, and the requests whose rest is still to come.
type snapshot struct {
	levels string // encoded
	open   string // a request's id and a letter for each of its operations, see begun
}

// begun is a request whose first part has happened, as a snapshot writes it: d for an operation that is done, r for one
// that is left for the rest.
func begun(id int, marks []byte) string { return fmt.Sprintf("%d:%s;", id, marks) }

// end takes a request out of the snapshot and returns its marks, nil if it hasn't begun.
func (s *snapshot) end(id int) []byte {
	prefix := fmt.Sprintf("%d:", id)
	for entry := range strings.SplitAfterSeq(s.open, ";") {
		if marks, ok := strings.CutPrefix(entry, prefix); ok {
			s.open = strings.Replace(s.open, entry, "", 1)
			return []byte(strings.TrimSuffix(marks, ";"))
		}
	}
	return nil
}

// begin adds a request to the snapshot, in an order that doesn't depend on that of the calls.
func (s *snapshot) begin(id int, marks []byte) {
	entries := append(strings.SplitAfter(s.open, ";"), begun(id, marks))
	slices.Sort(entries)
	s.open = strings.Join(entries, "")
}

// apply has bucket.State.Apply carry the operations out, and says what it answers.
func (s *snapshot) apply(ops []bucket.Op) []bucket.Result {
	var state bucket.State
	if err := state.Decode([]byte(s.levels)); err != nil {
		panic(err)
	}
	results := make([]bucket.Result, len(ops))
	state.Apply(instant, &bucket.Request{Limits: limits, Ops: ops}, results)
	s.levels = string(state.Encode(nil))
	return results
}

func (o *outcome) explains(i int, r bucket.Result) bool {
	return o.unknown || o.statuses[i] == r.Status
}

var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{snapshot{levels: string(new(bucket.State).Encode(nil))}} },
	Step: func(state, input, output any) []any {
		s, in, out := state.(snapshot), input.(request), output.(outcome)
		switch {
		case out.failed:
			return []any{s}
		case in.part == rest:
			return stepRest(s, &in, &out)
		default:
			return stepFirst(s, &in, &out)
		}
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v → %+v", input, output)
	},
}

// stepFirst does all of a request, as long as what it answers explains what the caller saw. Where a rest follows, what
// is refused now may be granted then.
func stepFirst(s snapshot, in *request, out *outcome) []any {
	var next []any
	if out.unknown { // it never happened
		never := s
		if in.part == first {
			never.begin(in.id, bytes.Repeat([]byte{'d'}, len(in.ops)))
		}
		next = append(next, never)
	}
	marks, explained := bytes.Repeat([]byte{'d'}, len(in.ops)), true
	for i, r := range s.apply(in.ops) {
		switch {
		case r.Status == bucket.Refused && in.part == first && (out.unknown || out.statuses[i] == bucket.Granted):
			marks[i] = 'r'
		case !out.explains(i, r):
			explained = false
		}
	}
	if !explained {
		return next
	}
	if in.part == first {
		s.begin(in.id, marks)
	}
	return append(next, s)
}

// stepRest does what a request's first part left.
func stepRest(s snapshot, in *request, out *outcome) []any {
	marks := s.end(in.id)
	if marks == nil {
		return nil // it can't come first
	}
	var next []any
	if out.unknown { // it was never repeated
		next = append(next, s)
	}
	var ops []bucket.Op
	for i, o := range in.ops {
		if marks[i] == 'r' {
			ops = append(ops, o)
		}
	}
	if len(ops) == 0 {
		return []any{s}
	}
	for _, r := range s.apply(ops) {
		if r.Status != bucket.Granted && !out.unknown {
			return nil
		}
	}
	return append(next, s)
}

// repeated is a history of drivers that repeat a request whose answer was lost. An operation takes effect in one instant
// and once; so does a request that wasn't repeated. Of a repeated one, what was refused at first is tried anew (see
// [bucket.Request]), so a request of several operations can take effect in two instants: what was granted in the first,
// and what was granted to the repeat. Such requests get a second step, at any time within their call.
func repeated(history []porcupine.Operation) []porcupine.Operation {
	var all []porcupine.Operation
	for _, o := range history {
		in, out := o.Input.(request), o.Output.(outcome)
		if len(in.ops) == 1 || out.failed || slices.Contains(out.statuses, bucket.Refused) {
			all = append(all, o) // what is refused to the repeat too fits one instant: that of what was granted
			continue
		}
		in.part = first
		o.Input = in
		all = append(all, o)
		in.part = rest
		o.Input = in
		all = append(all, o)
	}
	return all
}
