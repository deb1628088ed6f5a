package redisscript

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/tokenthrottle/throttle/bucket"
)

// Kinds as the script has them: bucket's own, and
const (
	kindInvalid = 0
	kindAfter   = 64
	kindEnd     = 255
)

// numberText is added to the size of the second part of a name, so that it can't be taken for a first part.
const numberText = 1 << 15

// Request is a request for the script: operations under limits, named or not. Its parts are answered one by one.
type Request struct {
	Name   string // client/number, or empty
	Limits *bucket.Limits
	Parts  [][]bucket.Op
}

// Args are the arguments of a call that are about its requests: those after the first.
type Args struct {
	packed []byte
	ends   []int // of each argument, in packed
	one    [4]int
	blobs  []blob
	few    [4]blob
}

// Use gives memory to pack into, as far as it goes.
func (a *Args) Use(memory []byte) { a.packed, a.ends = memory[:0], a.one[:0] }

// Add packs a request. It keeps nothing of it.
func (a *Args) Add(r *Request) {
	if a.packed == nil {
		a.Use(make([]byte, 0, 256))
	}
	b := a.packed
	nameless := r.Name != "" && !bucket.ValidName(r.Name) // all operations are invalid, as Apply has it
	cut := 0
	if r.Name != "" && !nameless {
		if cut = strings.LastIndexByte(r.Name, '/'); cut < 0 {
			cut = len(r.Name)
		}
		b = appendText(b, r.Name[:cut])
	}
	a.ends = append(a.ends, len(b))
	if r.Name != "" && !nameless {
		b = append(appendUint16(b, numberText+len(r.Name)-cut), r.Name[cut:]...)
	}
	a.ends = append(a.ends, len(b))
	b = appendLimits(b, r.Limits)
	a.ends = append(a.ends, len(b))
	for i, part := range r.Parts {
		if i > 0 {
			b = append(b, kindEnd)
		}
		for k := range part {
			if nameless {
				b = append(b, kindInvalid)
			} else {
				b = appendOp(b, &part[k], r.Limits)
			}
		}
	}
	a.ends = append(a.ends, len(b))
	a.packed = b
}

// AppendTo appends the arguments in a form that a client takes. Nothing may be added afterwards.
func (a *Args) AppendTo(args []any) []any {
	if a.blobs == nil {
		a.blobs = a.few[:0]
		from := 0
		for _, end := range a.ends {
			a.blobs = append(a.blobs, a.packed[from:end])
			from = end
		}
	}
	for i := range a.blobs {
		args = append(args, &a.blobs[i])
	}
	return args
}

// blob is a packed argument: by its pointer, which costs no allocation.
type blob []byte

// MarshalBinary implements encoding.BinaryMarshaler.
func (b *blob) MarshalBinary() ([]byte, error) { return *b, nil }

// String is what a hook that prints commands shows.
func (b *blob) String() string { return fmt.Sprintf("%q", []byte(*b)) }

func appendLimits(b []byte, l *bucket.Limits) []byte {
	if l == nil {
		return b
	}
	b = append(b, 't', 'b', version, byte(l.Len()))
	for i := range l.Len() {
		b = appendText(b, l.Quota(i).Resource)
	}
	for i := range l.Len() {
		q := l.Quota(i)
		b = appendDoubles(b, q.Limit, float64(q.Per), q.Burst)
	}
	return b
}

func appendOp(b []byte, o *bucket.Op, l *bucket.Limits) []byte {
	kind := byte(o.Kind)
	if !o.Valid(l) {
		kind = kindInvalid
	}
	if o.After {
		b = append(b, kind+kindAfter)
	} else {
		b = append(b, kind)
	}
	switch bucket.Kind(kind) {
	case bucket.Acquire, bucket.Adjust, bucket.Record:
		return appendCosts(b, o, l)
	case bucket.Leave:
		return appendText(b, o.Place)
	case bucket.SetLimit:
		return appendDoubles(appendUint16(b, o.Quota), o.Limit, o.Burst)
	case bucket.ClearLimit:
		return appendUint16(b, o.Quota)
	case bucket.Block:
		return appendDoubles(b, float64(o.Span))
	case bucket.Observe:
		return appendDoubles(appendUint16(b, o.Quota), o.Level, o.Limit)
	}
	return b
}

func appendCosts(b []byte, o *bucket.Op, l *bucket.Limits) []byte {
	sizeAt := len(b)
	b = append(b, 0, 0)
	if l != nil {
		for i := range l.Len() {
			cost := 0.0
			if r := l.ResourceOf(i); r < len(o.Cost) {
				cost = o.Cost[r]
			}
			b = appendDoubles(b, cost)
		}
	}
	place, priority, poll, grace := o.Place, o.Priority, o.Poll, o.Grace
	if o.Kind != bucket.Acquire || place == "" {
		place, poll, grace = "", 0, 0
	}
	if place == "" && o.Flow == "" && (o.Weight == 0 || o.Weight == 1) && priority == 0 {
		return b
	}
	weight := o.Weight
	if weight == 0 {
		weight = 1
	}
	from := len(b)
	b = appendText(appendText(b, place), o.Flow)
	b = appendDoubles(b, float64(priority), weight, float64(poll), float64(grace))
	binary.LittleEndian.PutUint16(b[sizeAt:], uint16(len(b)-from))
	return b
}

func appendUint16(b []byte, n int) []byte { return binary.LittleEndian.AppendUint16(b, uint16(n)) }

func appendText(b []byte, s string) []byte { return append(appendUint16(b, len(s)), s...) }

func appendDoubles(b []byte, values ...float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}
