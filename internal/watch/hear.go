package watch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/tally"
)

// hear tells of what a limiter's hooks say and happens seldom, or is summed up so that it does.
func (s *limiterSource) hear(note func(Event)) (stop func()) {
	refusals := summary{note: note, counts: map[refused]int{}}
	errors := summary{note: note, counts: map[refused]int{}}
	return s.limiter.Watch(&throttle.Hooks{
		Refused: func(_ context.Context, i throttle.RefusedInfo) {
			reason, resource := tally.Refusal(i.Err)
			refusals.add(refused{i.Family(), why(reason, resource), Info})
		},
		StoreError: func(i throttle.StoreErrorInfo) {
			errors.add(refused{"", "the store failed: " + i.Err.Error(), Bad})
		},
		StateMissing: func(i throttle.StateMissingInfo) {
			note(Event{Family: i.Family, Grave: Bad, Text: "the store has lost its state: every bucket starts full"})
		},
		ClockStepped: func(i throttle.ClockSteppedInfo) {
			note(Event{Family: i.Family, Grave: Warn, Text: fmt.Sprintf("the store's clock stepped by %v", i.Step.Round(time.Millisecond))})
		},
	})
}

// why says why a call was refused.
func why(reason, resource string) string {
	switch {
	case reason == "too_large":
		return "asked for more " + resource + " at once than there can be"
	case reason == "full":
		return "too many wait already"
	case reason == "deadline":
		return "would have waited past its deadline for " + resource
	case resource == "":
		return "refused, paused"
	}
	return "refused, short of " + resource
}

// summarise is how far apart two events of the same kind are.
const summarise = 10 * time.Second

// maxKinds bounds what a summary remembers.
const maxKinds = 1000

type refused struct {
	family, text string
	grave        Gravity
}

// summary turns what may happen a thousand times a second into an event now and then: the first at once, the others
// counted.
type summary struct {
	note func(Event)

	mu     sync.Mutex
	since  time.Time
	counts map[refused]int // since then
}

func (s *summary) add(r refused) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if now.Sub(s.since) >= summarise {
		for kind, n := range s.counts {
			if n > 1 {
				s.note(Event{At: now, Family: kind.family, Grave: kind.grave, Text: kind.text + ", " + number(n-1, "more time")})
			}
		}
		clear(s.counts)
		s.since = now
	}
	if len(s.counts) >= maxKinds {
		return
	}
	s.counts[r]++
	if s.counts[r] == 1 {
		s.note(Event{At: now, Family: r.family, Grave: r.grave, Text: r.text})
	}
}
