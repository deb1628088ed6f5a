package watch

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Gravity says how bad an event is.
type Gravity string

// The gravities.
const (
	Info Gravity = "info"
	Warn Gravity = "warn"
	Bad  Gravity = "bad"
)

// Event is something that happened.
type Event struct {
	// ID counts events.
	ID     uint64    `json:"id"`
	At     time.Time `json:"at"`
	Family string    `json:"family"` // empty: it isn't about one
	Grave  Gravity   `json:"grave"`
	Text   string    `json:"text"`
}

// maxEvents is how many events are kept.
const maxEvents = 200

// events are the newest events. They are safe for concurrent use.
type events struct {
	mu   sync.Mutex
	list []Event
	next uint64
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	ev.ID = e.next
	if ev.At.IsZero() {
		ev.At = time.Now()
	}
	if len(e.list) >= maxEvents {
		e.list = slices.Delete(e.list, 0, len(e.list)-maxEvents+1)
	}
	e.list = append(e.list, ev)
}

// after are the events since the one with that id.
func (e *events) after(id uint64) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := len(e.list)
	for i > 0 && e.list[i-1].ID > id {
		i--
	}
	return append([]Event{}, e.list[i:]...)
}

const (
	// lineAfter is for how many looks on end somebody must wait before a line is an event, and clearAfter for how many
	// nobody must before it is gone: at the limit a line comes and goes all the time.
	lineAfter  = 3
	clearAfter = 5
)

// memory is what is remembered of a family, to notice what changes.
type memory struct {
	at     time.Time // when it was last seen
	seen   bool
	family Family
	line   steady
	debt   map[string]bool
	series map[string]*series
	grants uint64
	denied uint64
}

// steady is a condition that counts once it has lasted.
type steady struct {
	on   bool
	runs int // looks on end that said otherwise
}

// see returns whether the condition has changed.
func (s *steady) see(now bool) (changed bool) {
	if now == s.on {
		s.runs = 0
		return false
	}
	s.runs++
	if (now && s.runs < lineAfter) || (!now && s.runs < clearAfter) {
		return false
	}
	s.on, s.runs = now, 0
	return true
}

// notice tells of what has changed since the family was last seen.
func (m *memory) notice(f *Family, note func(Event)) {
	tell := func(g Gravity, format string, args ...any) {
		note(Event{Family: f.Name, Grave: g, Text: fmt.Sprintf(format, args...)})
	}
	old := m.family
	if m.line.see(f.Places > 0) {
		if m.line.on {
			tell(Warn, "calls wait in line: %s", number(f.Places, "place"))
		} else {
			tell(Info, "nobody waits any more")
		}
	}
	for _, q := range f.Quotas {
		name := q.Resource + "/" + word(q.Per)
		if debt := q.Level < 0; debt != m.debt[name] {
			m.debt[name] = debt
			if debt {
				tell(Warn, "%s is in debt: more was used than was reserved", name)
			} else {
				tell(Info, "%s has paid its debt", name)
			}
		}
		i := slices.IndexFunc(old.Quotas, func(o Quota) bool { return o.Resource == q.Resource && o.Per == q.Per })
		switch {
		case !m.seen || i < 0:
		case q.Overridden && old.Quotas[i].Limit != q.Limit:
			tell(Info, "limit of %s set to %s, it was %s", name, units(q.Limit), units(old.Quotas[i].Limit))
		case !q.Overridden && old.Quotas[i].Overridden:
			tell(Info, "limit of %s is %s again", name, units(q.Limit))
		}
	}
	switch {
	case f.Paused > 0 && (!m.seen || old.Paused <= 0 || f.Paused > old.Paused+1):
		tell(Warn, "paused for %s", (time.Duration(f.Paused * float64(time.Second))).Round(100*time.Millisecond))
	case m.seen && f.Paused <= 0 && old.Paused > 0:
		tell(Info, "the pause is over")
	}
	m.seen, m.family = true, *f
}

// word is a period as people say it.
func word(per string) string {
	switch per {
	case "1s":
		return "s"
	case "1m":
		return "min"
	case "1h":
		return "h"
	case "1d":
		return "day"
	}
	return per
}

func number(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return strconv.Itoa(n) + " " + of + "s"
}

func units(x float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= u.size {
			return strconv.FormatFloat(x/u.size, 'g', 4, 64) + u.name
		}
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}
