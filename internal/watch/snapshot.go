// Package watch follows the families of a limiter, or of a store, for those who look at them: a page, a terminal. It
// polls while somebody looks, and not otherwise.
package watch

import (
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/period"
)

// Snapshot is how things stand at one instant. It is not changed once it is handed out.
type Snapshot struct {
	At time.Time `json:"at"`
	// Families are in order of name.
	Families []Family `json:"families"`
	// Omitted is how many families there are besides.
	Omitted int `json:"omitted"`
	// Failed is how many families couldn't be looked at, and Error says why one of them couldn't, or the store as a
	// whole.
	Failed int    `json:"failed"`
	Error  string `json:"error,omitempty"`
}

// State is how a family does, in a word.
type State string

// The states, the worst first.
const (
	Paused  State = "paused"  // nothing is granted
	Debt    State = "debt"    // more was used than there was
	Waiting State = "waiting" // somebody stands in line
	Busy    State = "busy"    // a bucket is in use, or not full
	Idle    State = "idle"    // every bucket is full
)

// Family is one family. Times are in seconds.
type Family struct {
	Name   string  `json:"name"`
	State  State   `json:"state"`
	Paused float64 `json:"paused"` // how much longer
	Quotas []Quota `json:"quotas"`
	// Line is who waits, at most maxPlaces of them; Places is how many there are, and Waiting how many calls wait in
	// this process (always 0 for a store).
	Line    []Place `json:"line"`
	Places  int     `json:"places"`
	Waiting int     `json:"waiting"`
	// Granted and Refused are calls of this process a second (0 for a store).
	Granted float64 `json:"granted"`
	Refused float64 `json:"refused"`
}

// Quota is one bucket, in its units.
type Quota struct {
	Resource   string  `json:"resource"`
	Per        string  `json:"per"`
	Seconds    float64 `json:"seconds"` // the period
	Limit      float64 `json:"limit"`
	Burst      float64 `json:"burst"`
	Level      float64 `json:"level"`
	Full       float64 `json:"full"` // in how long, nothing else happening
	Overridden bool    `json:"overridden"`
	// Use is what was debited, less what came back, over the last seconds, as units a period: at Limit it is all that
	// comes back. While the bucket is nearly full, use by others than this process can't be seen: then Use is this
	// process's, and for a store Seen is false.
	Use  float64 `json:"use"`
	Seen bool    `json:"seen"`
}

// Place is one place in the line.
type Place struct {
	Flow     string             `json:"flow"`
	Priority int                `json:"priority"`
	Usage    map[string]float64 `json:"usage"`
	Waited   float64            `json:"waited"`
	Expected float64            `json:"expected"`
	Resource string             `json:"resource"` // what it waits for: a quota's resource and period; empty for none
	Per      string             `json:"per"`
	Ours     bool               `json:"ours"` // it is this process's
}

// maxPlaces is how much of a line is shown.
const maxPlaces = 50

func familyOf(s *throttle.Status) Family {
	f := Family{Name: s.Family, State: Idle, Quotas: []Quota{}, Line: []Place{}, Places: len(s.Line), Waiting: s.Waiting}
	if !s.Paused.IsZero() {
		f.Paused = s.Paused.Sub(s.Now).Seconds()
	}
	debt, busy := false, false
	for i := range s.Buckets {
		b := &s.Buckets[i]
		debt = debt || b.Level < 0
		busy = busy || b.Level < b.Burst
		f.Quotas = append(f.Quotas, Quota{
			Resource: b.Resource, Per: period.String(b.Per), Seconds: b.Per.Seconds(), Limit: b.Limit, Burst: b.Burst,
			Level: b.Level, Full: b.Full.Seconds(), Overridden: b.Overridden,
		})
	}
	for i := range s.Line[:min(len(s.Line), maxPlaces)] {
		p := &s.Line[i]
		place := Place{
			Flow: p.Flow, Priority: p.Priority, Usage: p.Usage, Waited: s.Now.Sub(p.Since).Seconds(),
			Expected: p.Expected.Seconds(), Ours: p.Ours, Resource: p.Resource,
		}
		if p.Resource != "" {
			place.Per = period.String(p.Per)
		}
		f.Line = append(f.Line, place)
	}
	switch {
	case f.Paused > 0:
		f.State = Paused
	case debt:
		f.State = Debt
	case f.Places > 0 || f.Waiting > 0:
		f.State = Waiting
	case busy:
		f.State = Busy
	}
	return f
}
