package bucket

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// EncodingVersion is the version that [State.Encode] writes, and the only one that [State.Decode] reads.
const EncodingVersion = 1

// VersionError is what [State.Decode] returns for a state that another version of this package wrote.
type VersionError struct{ Version int64 }

func (e *VersionError) Error() string {
	return fmt.Sprintf("bucket: state has encoding version %d, this program reads version %d: upgrade it, or use another prefix", e.Version, EncodingVersion)
}

// Encode appends the state to dst, as one line of JSON that a person can read: docs/state-encoding.md tells the fields.
// [State.Decode] gives back the same state, bit for bit.
func (s *State) Encode(dst []byte) []byte {
	dst = append(dst, `{"version":1,"at":`...)
	dst = appendMicros(dst, s.At)
	if s.Blocked != 0 {
		dst = append(dst, `,"blocked_until":`...)
		dst = appendMicros(dst, s.Blocked)
	}
	if s.Kept != 0 {
		dst = append(dst, `,"kept_until":`...)
		dst = appendMicros(dst, s.Kept)
	}
	dst = append(dst, `,"buckets":[`...)
	for i := range s.Buckets {
		dst = s.Buckets[i].encode(comma(dst, i))
	}
	dst = append(dst, ']')
	if len(s.Line) > 0 {
		dst = s.encodeLine(dst)
	}
	if len(s.Batches) > 0 {
		dst = append(dst, `,"batches":[`...)
		for i := range s.Batches {
			b := &s.Batches[i]
			dst = append(comma(dst, i), `{"id":`...)
			dst = appendString(dst, b.ID)
			dst = append(dst, `,"at":`...)
			dst = appendMicros(dst, b.At)
			dst = append(dst, `,"effects":"`...)
			dst = append(dst, b.Effects...)
			dst = append(dst, `"}`...)
		}
		dst = append(dst, ']')
	}
	if s.Forgotten != 0 {
		dst = append(dst, `,"forgotten":`...)
		dst = appendMicros(dst, s.Forgotten)
	}
	return append(dst, '}')
}

func (b *Bucket) encode(dst []byte) []byte {
	dst = append(dst, `{"resource":`...)
	dst = appendString(dst, b.Resource)
	dst = append(dst, `,"per":`...)
	dst = appendMicros(dst, b.Per)
	dst = append(dst, `,"limit":`...)
	dst = appendNumber(dst, b.Limit)
	dst = append(dst, `,"burst":`...)
	dst = appendNumber(dst, b.Burst)
	dst = append(dst, `,"level":`...)
	dst = appendNumber(dst, b.Level)
	if b.OverLimit != 0 {
		dst = append(dst, `,"over_limit":`...)
		dst = appendNumber(dst, b.OverLimit)
		dst = append(dst, `,"over_burst":`...)
		dst = appendNumber(dst, b.OverBurst)
	}
	return append(dst, '}')
}

// encodeLine appends the line with what exists only while there is one.
func (s *State) encodeLine(dst []byte) []byte {
	dst = append(dst, `,"line":[`...)
	for i := range s.Line {
		dst = s.Line[i].encode(comma(dst, i))
	}
	dst = append(dst, `],"arrivals":`...)
	dst = strconv.AppendInt(dst, s.Arrivals, 10)
	dst = append(dst, `,"virtual":`...)
	dst = appendNumber(dst, s.Virtual)
	dst = append(dst, `,"flows":[`...)
	for i := range s.Flows {
		f := &s.Flows[i]
		dst = append(comma(dst, i), `{"name":`...)
		dst = appendString(dst, f.Name)
		dst = append(dst, `,"finish":`...)
		dst = appendNumber(dst, f.Finish)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func (p *Place) encode(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, p.ID)
	dst = append(dst, `,"flow":`...)
	dst = appendString(dst, p.Flow)
	dst = append(dst, `,"priority":`...)
	dst = strconv.AppendInt(dst, int64(p.Priority), 10)
	dst = append(dst, `,"start":`...)
	dst = appendNumber(dst, p.Start)
	dst = append(dst, `,"span":`...)
	dst = appendNumber(dst, p.Span)
	dst = append(dst, `,"arrival":`...)
	dst = strconv.AppendInt(dst, p.Arrival, 10)
	dst = append(dst, `,"cost":[`...)
	for i, c := range p.Cost {
		dst = appendNumber(comma(dst, i), c)
	}
	dst = append(dst, `],"since":`...)
	dst = appendMicros(dst, p.Since)
	dst = append(dst, `,"due":`...)
	dst = appendMicros(dst, p.Due)
	dst = append(dst, `,"lease":`...)
	dst = appendMicros(dst, p.Lease)
	return append(dst, '}')
}

// comma appends what separates element i of a list from the one before.
func comma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

func appendMicros(dst []byte, m Micros) []byte { return strconv.AppendInt(dst, int64(m), 10) }

// appendNumber writes the shortest text that reads back as the same bits. Whole numbers, which most are, take the fast
// path; −0 doesn't, lest it lose its sign.
func appendNumber(dst []byte, f float64) []byte {
	if i := int64(f); float64(i) == f && i > -MaxUnits && i < MaxUnits && (i != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, i, 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// appendString quotes a valid name: of what it can hold, JSON escapes only these two.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if strings.ContainsAny(s, `"\`) {
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
	} else {
		dst = append(dst, s...)
	}
	return append(dst, '"')
}
