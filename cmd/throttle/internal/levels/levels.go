// Package levels reads what a store holds: the levels, limits and waiting lines of its families.
package levels

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/presence"
)

// ErrNoLister is returned for a store that can't say which families it holds.
var ErrNoLister = errors.New("this store can't list its families: name those to show")

// perBatch is how many families are asked for in one round trip.
const perBatch = 200

// Read returns the state of the families named, or of all that the store holds, by name. A family that is as if it had
// never been used is left out. Nothing is changed.
func Read(ctx context.Context, d driver.Driver, names ...string) ([]throttle.Status, error) {
	if len(names) == 0 {
		lister, ok := d.(driver.Lister)
		if !ok {
			return nil, ErrNoLister
		}
		for name, err := range presence.Families(lister.Keys(ctx)) {
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	var all []throttle.Status
	for part := range slices.Chunk(names, perBatch) {
		batch := make([]driver.Request, len(part))
		for i, name := range part {
			batch[i] = driver.Request{Key: name, Ops: []bucket.Op{{Kind: bucket.Peek}}}
		}
		answers, err := d.Apply(ctx, batch)
		if err != nil {
			return nil, err
		}
		for i, a := range answers {
			if state := a.Results[0].State; !a.Absent && state != nil {
				all = append(all, throttle.StatusOf(part[i], state))
			}
		}
	}
	return all, nil
}

// Family is one family in the form of the command's JSON.
type Family struct {
	Family string    `json:"family"`
	Now    time.Time `json:"now"`
	// PausedUntil is nil if nothing is paused.
	PausedUntil *time.Time `json:"paused_until"`
	Buckets     []Bucket   `json:"buckets"`
	Line        []Place    `json:"line"`
}

// Bucket is one quota: amounts in units, times in seconds.
type Bucket struct {
	Resource   string  `json:"resource"`
	Per        float64 `json:"per_s"`
	Limit      float64 `json:"limit"`
	Burst      float64 `json:"burst"`
	Level      float64 `json:"level"`
	FullIn     float64 `json:"full_in_s"`
	Overridden bool    `json:"overridden"`
}

// Place is one place in the line, the front first: those before it are ahead.
type Place struct {
	Flow     string             `json:"flow"`
	Priority int                `json:"priority"`
	Usage    map[string]float64 `json:"usage"`
	Waited   float64            `json:"waited_s"`
	Expected float64            `json:"expected_s"`
	// Binds is the quota that it waits for; nil if none is short, as in a pause.
	Binds *Quota `json:"binds"`
}

// Quota names a bucket.
type Quota struct {
	Resource string  `json:"resource"`
	Per      float64 `json:"per_s"`
}

// FamilyOf converts a status.
func FamilyOf(s throttle.Status) Family {
	f := Family{Family: s.Family, Now: s.Now.UTC(), Buckets: []Bucket{}, Line: []Place{}}
	if !s.Paused.IsZero() {
		until := s.Paused.UTC()
		f.PausedUntil = &until
	}
	for _, b := range s.Buckets {
		f.Buckets = append(f.Buckets, Bucket{
			Resource: b.Resource, Per: b.Per.Seconds(), Limit: b.Limit, Burst: b.Burst, Level: b.Level,
			FullIn: b.Full.Seconds(), Overridden: b.Overridden,
		})
	}
	for _, p := range s.Line {
		place := Place{Flow: p.Flow, Priority: p.Priority, Usage: p.Usage, Waited: s.Now.Sub(p.Since).Seconds(), Expected: p.Expected.Seconds()}
		if p.Resource != "" {
			place.Binds = &Quota{p.Resource, p.Per.Seconds()}
		}
		f.Line = append(f.Line, place)
	}
	return f
}
