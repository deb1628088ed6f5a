package redisscript

import (
	"encoding/binary"
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

// Request is a request for the script: operations under limits, named or not. Its parts are answered one by one.
type Request struct {
	Name   string // client/number, or empty
	Limits *bucket.Limits
	Parts  [][]bucket.Op
}

// AppendArgs appends the request's arguments.
func (r *Request) AppendArgs(args []any) []any {
	client, number := "", ""
	nameless := r.Name != "" && !bucket.ValidName(r.Name) // all operations are invalid, as Apply has it
	if r.Name != "" && !nameless {
		client, number = splitName(r.Name)
	}
	var ops []byte
	for i, part := range r.Parts {
		if i > 0 {
			ops = append(ops, kindEnd)
		}
		for k := range part {
			if nameless {
				ops = append(ops, kindInvalid)
			} else {
				ops = appendOp(ops, &part[k], r.Limits)
			}
		}
	}
	return append(args, client, number, appendLimits(nil, r.Limits), ops)
}

// splitName cuts a name before its last slash and packs both parts.
func splitName(name string) (client, number string) {
	cut := strings.LastIndexByte(name, '/')
	if cut < 0 {
		cut = len(name)
	}
	return string(appendText(nil, name[:cut])), string(appendText(nil, name[cut:]))
}

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
