// Package tally counts what a limiter's hooks tell of, for the packages that export it. It is made for the hot path: a
// call costs an addition and a short uncontended lock, and no allocation, whatever is exported, and however often.
package tally

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tokenthrottle/throttle"
)

// Other is the name under which families, flows and resources are counted that are too many, or not listed.
const Other = "other"

// DefaultMaxFamilies is how many families are counted by name where Options doesn't say.
const DefaultMaxFamilies = 100

// maxResources bounds the resources of one family: quotas come from the user's program, so it is only there to be sure.
const maxResources = 16

// Options configures a [Tally].
type Options struct {
	// MaxFamilies is how many families are counted by name, the first that are seen; the others count as Other. 0 means
	// DefaultMaxFamilies.
	MaxFamilies int
	// Flows are the flows that are counted by name; the others count as Other. None: flows aren't told apart.
	Flows []string
	// AtGrant counts what is reserved when it is granted, not when it is settled: for who looks at use from moment to
	// moment, at the price of a second lock.
	AtGrant bool
}

// Tally counts. Its methods are safe for concurrent use.
type Tally struct {
	flows []string // the last is Other; one empty name if flows aren't told apart

	hot      atomic.Pointer[hot]    // set once
	first    atomic.Pointer[family] // most programs have one
	families sync.Map               // name → *family
	other    atomic.Pointer[family] // for those that are too many; nil as long as none is
	mu       sync.Mutex
	max      int
	atGrant  bool
	count    int

	store store
}

// New returns a Tally of nothing.
func New(o Options) *Tally {
	t := &Tally{max: o.MaxFamilies, atGrant: o.AtGrant, flows: []string{""}}
	if t.max == 0 {
		t.max = DefaultMaxFamilies
	}
	if len(o.Flows) > 0 {
		t.flows = nil
		for _, name := range o.Flows {
			// Names are compared on every call: a few flows are named, not a thousand tenants.
			if name != Other && !slices.Contains(t.flows, name) {
				t.flows = append(t.flows, name)
			}
		}
		t.flows = append(t.flows, Other)
	}
	return t
}

// family is what is counted of one, by flow.
type family struct {
	name  string
	flows []flow
}

// family finds a family, or makes it; Other if there are too many.
func (t *Tally) family(name string) *family {
	if f := t.first.Load(); f != nil && f.name == name {
		return f
	}
	if f, ok := t.families.Load(name); ok {
		return f.(*family)
	}
	if f := t.other.Load(); f != nil {
		return f
	}
	return t.newFamily(name)
}

func (t *Tally) newFamily(name string) *family {
	t.mu.Lock()
	defer t.mu.Unlock()
	full := t.count >= t.max
	if full {
		name = Other
	}
	f := &family{name: name, flows: make([]flow, len(t.flows))}
	for i := range f.flows {
		f.flows[i].atGrant = t.atGrant
	}
	if old, ok := t.families.LoadOrStore(f.name, f); ok {
		f = old.(*family)
	} else {
		t.count++
	}
	if full {
		t.other.Store(f)
	}
	t.first.CompareAndSwap(nil, f)
	return f
}

// hot is the first family's flow, where flows aren't told apart: what most calls of most programs ask for.
type hot struct {
	name *byte // where the family's name is: a name that comes again is the same string
	len  int
	flow *flow
}

// flow finds what is counted of a call's family and flow.
func (t *Tally) flow(c throttle.Call) *flow {
	name := c.Family()
	if h := t.hot.Load(); h != nil && h.name == unsafe.StringData(name) && h.len == len(name) {
		return h.flow
	}
	return t.find(c)
}

func (t *Tally) find(c throttle.Call) *flow {
	f := t.family(c.Family())
	if len(f.flows) == 1 {
		if name := c.Family(); t.hot.Load() == nil {
			t.hot.Store(&hot{unsafe.StringData(name), len(name), &f.flows[0]})
		}
		return &f.flows[0]
	}
	return t.named(f, c.Flow())
}

func (t *Tally) named(f *family, flowName string) *flow {
	last := len(t.flows) - 1
	for i := range last {
		if t.flows[i] == flowName {
			return &f.flows[i]
		}
	}
	return &f.flows[last]
}

// Names are the names under which a call is counted.
func (t *Tally) Names(c throttle.Call) (family, flow string) {
	f := t.family(c.Family())
	if len(f.flows) == 1 {
		return f.name, ""
	}
	for _, name := range t.flows {
		if name == c.Flow() {
			return f.name, name
		}
	}
	return f.name, Other
}

// Hooks returns what counts. They may be given to several limiters; their counts add up.
func (t *Tally) Hooks() *throttle.Hooks {
	return &throttle.Hooks{
		WaitStarted: func(_ context.Context, i throttle.WaitInfo) {
			t.flow(i.Call).waiting.Add(1)
		},
		WaitEnded: func(_ context.Context, i throttle.WaitInfo) {
			f := t.flow(i.Call)
			f.waiting.Add(-1)
			f.waitEnded(&i)
		},
		Acquired: func(_ context.Context, i throttle.AcquiredInfo) {
			t.flow(i.Call).acquired(i.Usage(), i.Waited > 0)
		},
		Refused: func(_ context.Context, i throttle.RefusedInfo) {
			reason, resource := Refusal(i.Err)
			t.flow(i.Call).refused(reason, resource)
		},
		Settled: func(_ context.Context, i throttle.SettledInfo) {
			t.flow(i.Call).settled(i.Reserved(), &i.Used)
		},
		StateMissing: func(i throttle.StateMissingInfo) {
			t.named(t.family(i.Family), "").missing.Add(1)
		},
		ClockStepped: func(i throttle.ClockSteppedInfo) {
			t.named(t.family(i.Family), "").stepped.Add(1)
		},
		StoreError:    func(i throttle.StoreErrorInfo) { t.store.failed(&i) },
		StoreAnswered: func(i throttle.StoreAnsweredInfo) { t.store.answered(&i) },
	}
}

// Refusal says in a word why a call was refused (no_capacity, deadline, too_large, full, other), and names the resource
// that was to blame; it is empty where none was, as in a pause. err is what [throttle.RefusedInfo] has, not wrapped.
func Refusal(err error) (reason, resource string) {
	switch e := err.(type) { //nolint:errorlint // the hook promises these types, and it is called often
	case *throttle.CapacityError:
		return "no_capacity", e.Resource
	case *throttle.DeadlineError:
		return "deadline", e.Resource
	case *throttle.TooLargeError:
		return "too_large", e.Resource
	case *throttle.FullError:
		return "full", ""
	}
	return Other, ""
}
