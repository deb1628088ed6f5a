package bucket

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// EncodingVersion is the version that [State.Encode] writes, and the only one that [State.Decode] reads.
const EncodingVersion = 1

// encoded is the form of a state in a store: JSON that a person can read. Numbers are written so that they read back as
// the same bits; instants and periods are microseconds.
type encoded struct {
	Version   int             `json:"version"`
	At        Micros          `json:"at"`
	Blocked   Micros          `json:"blocked_until,omitempty"`
	Buckets   []encodedBucket `json:"buckets"`
	Line      []encodedPlace  `json:"line,omitempty"`
	Flows     []encodedFlow   `json:"flows,omitempty"`
	Virtual   float64         `json:"virtual,omitempty"`
	Arrivals  int64           `json:"arrivals,omitempty"`
	Batches   []encodedBatch  `json:"batches,omitempty"`
	Forgotten Micros          `json:"forgotten,omitempty"`
}

type encodedBucket struct {
	Resource  string  `json:"resource"`
	Per       Micros  `json:"per"`
	Limit     float64 `json:"limit"`
	Burst     float64 `json:"burst"`
	Level     float64 `json:"level"`
	OverLimit float64 `json:"over_limit,omitempty"`
	OverBurst float64 `json:"over_burst,omitempty"`
}

type encodedPlace struct {
	ID       string    `json:"id"`
	Flow     string    `json:"flow,omitempty"`
	Priority int32     `json:"priority,omitempty"`
	Start    float64   `json:"start"`
	Span     float64   `json:"span"`
	Arrival  int64     `json:"arrival"`
	Cost     []float64 `json:"cost"`
	Since    Micros    `json:"since"`
	Due      Micros    `json:"due"`
	Lease    Micros    `json:"lease"`
}

type encodedFlow struct {
	Name   string  `json:"name"`
	Finish float64 `json:"finish"`
}

type encodedBatch struct {
	ID      string `json:"id"`
	At      Micros `json:"at"`
	Effects string `json:"effects"`
}

// VersionError is what [State.Decode] returns for a state that another version of this package wrote.
type VersionError struct{ Version int }

func (e *VersionError) Error() string {
	return fmt.Sprintf("bucket: state has encoding version %d, this program reads version %d: upgrade it, or use another prefix", e.Version, EncodingVersion)
}

// Encode appends the state as one line of JSON.
func (s *State) Encode(dst []byte) []byte {
	e := encoded{
		Version: EncodingVersion, At: s.At, Blocked: s.Blocked, Virtual: s.Virtual, Arrivals: s.Arrivals, Forgotten: s.Forgotten,
		Buckets: make([]encodedBucket, len(s.Buckets)),
	}
	for i, b := range s.Buckets {
		e.Buckets[i] = encodedBucket{b.Resource, b.Per, b.Limit, b.Burst, b.Level, b.OverLimit, b.OverBurst}
	}
	for _, p := range s.Line {
		e.Line = append(e.Line, encodedPlace(p))
	}
	for _, f := range s.Flows {
		e.Flows = append(e.Flows, encodedFlow(f))
	}
	for _, b := range s.Batches {
		e.Batches = append(e.Batches, encodedBatch(b))
	}
	text, err := json.Marshal(&e)
	if err != nil {
		panic("bucket: a state holds a number that is not finite: " + err.Error()) // no operation lets one in
	}
	return append(dst, text...)
}

// Decode replaces the state with an encoded one. It returns a [*VersionError] for another version, and an error that
// says what is wrong for anything that Encode can't have written; the state is then unchanged.
func (s *State) Decode(text []byte) error {
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &version); err != nil {
		return fmt.Errorf("bucket: state is not JSON: %w", err)
	}
	if version.Version != EncodingVersion {
		return &VersionError{version.Version}
	}
	var e encoded
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return fmt.Errorf("bucket: state: %w", err)
	}
	n := State{At: e.At, Blocked: e.Blocked, Virtual: e.Virtual, Arrivals: e.Arrivals, Forgotten: e.Forgotten}
	for _, b := range e.Buckets {
		n.Buckets = append(n.Buckets, Bucket{Quota{b.Resource, b.Limit, b.Per, b.Burst}, b.Level, b.OverLimit, b.OverBurst})
	}
	for _, p := range e.Line {
		n.Line = append(n.Line, Place(p))
	}
	for _, f := range e.Flows {
		n.Flows = append(n.Flows, Flow(f))
	}
	for _, b := range e.Batches {
		n.Batches = append(n.Batches, Batch(b))
	}
	if err := n.check(); err != nil {
		return err
	}
	*s = n
	return nil
}

// check holds a decoded state to what Apply relies on.
func (s *State) check() error {
	for i, b := range s.Buckets {
		if err := b.Validate(); err != nil {
			return fmt.Errorf("bucket: state: %w", err)
		}
		if b.Burst == 0 || b.OverLimit < 0 || b.OverBurst < 0 {
			return fmt.Errorf("bucket: state: bucket %d: burst %v, override %v, %v out of range", i, b.Burst, b.OverLimit, b.OverBurst)
		}
		if i > 0 && s.Buckets[i-1].compare(b.Quota) >= 0 {
			return fmt.Errorf("bucket: state: bucket %d is out of order", i)
		}
	}
	for i, p := range s.Line {
		if len(p.Cost) != len(s.Buckets) {
			return fmt.Errorf("bucket: state: place %d has %d costs for %d buckets", i, len(p.Cost), len(s.Buckets))
		}
		if i > 0 && comparePlaces(s.Line[i-1], p) > 0 {
			return fmt.Errorf("bucket: state: place %d is out of order", i)
		}
	}
	return nil
}
