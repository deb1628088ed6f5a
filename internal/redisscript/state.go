package redisscript

import (
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
)

// version is the version of the packed state.
const version = 1

const (
	flagOverrides = 1 << iota
	flagBlocked
	flagLine
	flagUnordered // batches are not in the order of their instants: for the script alone
	flagKept
)

// DecodeState unpacks a state as it is stored. One that the arithmetic can't have left (a NaN, a level above its burst) is
// an error, by the rule of [bucket.State.Decode]: states that are read this way are shown to people, so the way there and
// back costs less than a second rule would that could differ.
func DecodeState(text string) (*bucket.State, error) {
	s, err := unpack(text)
	if err != nil {
		return nil, &StateError{err}
	}
	checked := new(bucket.State)
	if err := checked.Decode(s.Encode(nil)); err != nil {
		return nil, &StateError{err}
	}
	return checked, nil
}

// StateError says what is wrong with a state that can't be read.
type StateError struct{ Err error }

func (e *StateError) Error() string { return fmt.Sprintf("the state can't be read: %v", e.Err) }

// Unwrap returns what is wrong with it.
func (e *StateError) Unwrap() error { return e.Err }

func unpack(text string) (*bucket.State, error) {
	r := &reader{left: text}
	if magic := r.take(3); magic != "tb\x01" {
		return nil, fmt.Errorf("it starts with %q", magic)
	}
	s := &bucket.State{Buckets: make([]bucket.Bucket, r.byte())}
	for i := range s.Buckets {
		s.Buckets[i].Resource = r.text()
	}
	for i := range s.Buckets {
		b := &s.Buckets[i]
		b.Limit, b.Per, b.Burst = r.double(), r.micros(), r.double()
	}
	flags := r.byte()
	if flags >= 2*flagKept {
		return nil, fmt.Errorf("flags %#x", flags)
	}
	s.At, s.Forgotten = r.micros(), r.micros()
	r.micros() // the newest batch's instant
	r.double() // when the key expires
	for i := range s.Buckets {
		s.Buckets[i].Level = r.double()
	}
	for range r.byte() {
		b := bucket.Batch{At: r.micros()}
		effects := r.uint32()
		client := r.text()
		b.ID = client + r.take(r.uint16()-numberText)
		b.Effects = r.take(effects)
		s.Batches = append(s.Batches, b)
	}
	if flags&flagOverrides != 0 {
		for i := range s.Buckets {
			s.Buckets[i].OverLimit, s.Buckets[i].OverBurst = r.double(), r.double()
		}
	}
	if flags&flagBlocked != 0 {
		s.Blocked = r.micros()
	}
	if flags&flagKept != 0 {
		s.Kept = r.micros()
	}
	if flags&flagLine != 0 {
		decodeLine(r, s)
	}
	return s, r.finish()
}

func decodeLine(r *reader, s *bucket.State) {
	s.Virtual, s.Arrivals = r.double(), int64(r.micros())
	places, flows := r.count(), r.count()
	for range places {
		id, flow := r.uint16(), r.uint16()
		p := bucket.Place{
			Priority: int32(r.micros()), Start: r.double(), Span: r.double(), Arrival: int64(r.micros()),
			Since: r.micros(), Due: r.micros(), Lease: r.micros(),
		}
		p.Cost = make([]float64, len(s.Buckets))
		for j := range p.Cost {
			p.Cost[j] = r.double()
		}
		p.ID, p.Flow = r.take(id), r.take(flow)
		if r.err != nil {
			return
		}
		s.Line = append(s.Line, p)
	}
	if 10*flows > len(r.left) {
		r.fail("%d flows don't fit", flows)
		return
	}
	sizes := make([]int, flows)
	for i := range sizes {
		sizes[i] = r.uint16()
	}
	s.Flows = make([]bucket.Flow, flows)
	for i := range s.Flows {
		s.Flows[i].Finish = r.double()
	}
	for i := range s.Flows {
		s.Flows[i].Name = r.take(sizes[i])
	}
}
