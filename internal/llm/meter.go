package llm

import (
	"strconv"
)

// Role says what a field of an answer means to a [Meter].
type Role uint8

// The roles of an answer's fields.
const (
	Input      Role = iota + 1 // a number: tokens read, without those listed apart
	CacheWrite                 // a number: tokens read and written to a cache, apart from Input
	CacheRead                  // a number: tokens read from a cache
	Output                     // a number: tokens written
	Reasoning                  // a number: how many of Output were not shown
	Total                      // a number: all tokens, where Input or Output is missing
	Text                       // a string: a piece of the answer itself
	Final                      // any value but null, or an object: the answer is complete
	ErrorType                  // a string: the kind of an error
	ErrorCode                  // a string: the code of an error
	ErrorText                  // a string: what a person is told
)

// Usage is what an answer says that a call used, in tokens.
type Usage struct {
	Input, CacheWrite, CacheRead, Output, Reasoning int
}

// Reading is what a [Meter] found in an answer.
type Reading struct {
	// Usage as the answer reports it; the last report wins field by field, for streams report what was used so far.
	// HasUsage is false where there was none.
	Usage    Usage
	HasUsage bool
	// Shown is the tokens of the answer's own text, counted only where no usage is known for good: what to go by if a
	// stream is cut.
	Shown int
	// Stream says that the answer came as events.
	Stream bool
	// Done reports that the answer came to its end.
	Done bool
	// ErrorType, ErrorCode and ErrorText describe the error that the answer is or ended in; all empty if none.
	ErrorType, ErrorCode, ErrorText string
}

const (
	maxErrorField = 512      // bytes of an error's field that are kept
	maxShownText  = 64 << 10 // bytes of the answer's text that are kept until they are counted
)

// MeterOptions says how a [Meter] reads.
type MeterOptions struct {
	// Fields gives the role of each field of an answer, by its path (see [Visitor]).
	Fields map[string]Role
	// Stream says that the answer is a stream of server-sent events, each with a document, rather than one document.
	Stream bool
	// Count counts the tokens of a text; nil counts one for every four bytes.
	Count func(text string) int
}

// Meter reads an answer's usage as its bytes are written to it (it is an [io.Writer] whose Write never fails). Its memory
// does not depend on the answer. What is not JSON, or has fields of other types, reads as an answer without usage.
//
// It is not safe for concurrent use.
type Meter struct {
	opts    MeterOptions
	scanner *Scanner
	events  *Events

	reading  Reading
	total    int
	reported bool // the event being read reports usage
	finished bool
	text     []byte // of the answer, not counted yet
	field    []byte // the string being read
	marker   []byte // the beginning of an event's data, to see [DONE]
}

// doneMarker ends a stream of OpenAI's; it is not JSON.
const doneMarker = "[DONE]"

// NewMeter returns a Meter for one answer.
func NewMeter(opts MeterOptions) *Meter {
	m := &Meter{opts: opts, reading: Reading{Stream: opts.Stream}}
	m.scanner = NewScanner(m)
	if opts.Stream {
		m.events = &Events{Data: eventData{m}, End: m.endEvent}
	}
	return m
}

type eventData struct{ *Meter }

func (d eventData) Write(p []byte) (int, error) {
	if room := len(doneMarker) - len(d.marker); room > 0 {
		d.marker = append(d.marker, p[:min(room, len(p))]...)
	}
	return d.scanner.Write(p)
}

func (m *Meter) endEvent() {
	if string(m.marker) == doneMarker {
		m.reading.Done, m.finished = true, true
	}
	_ = m.scanner.Close() // an event that isn't JSON says nothing
	m.scanner.Reset()
	m.finished = m.finished || m.reading.Done && m.reported
	m.reported = false
	m.marker, m.field = m.marker[:0], m.field[:0]
}

// Finished reports whether a stream has said its last that matters: its end mark, or its usage with or after its end.
func (m *Meter) Finished() bool { return m.finished }

// Write implements [io.Writer].
func (m *Meter) Write(p []byte) (int, error) {
	if m.events != nil {
		return m.events.Write(p)
	}
	return m.scanner.Write(p)
}

// Close says that no more comes and returns what was found. Complete says that the answer was read to its end, rather
// than given up.
func (m *Meter) Close(complete bool) Reading {
	if m.events != nil {
		m.events.Close()
	} else if m.scanner.Close() == nil && complete {
		m.reading.Done = true
	}
	r := m.reading
	if !r.HasUsage || !r.Done {
		r.Shown += m.count(string(m.text))
	}
	m.text = m.text[:0]
	if r.HasUsage && m.total > 0 {
		r.Usage.fill(m.total)
	}
	return r
}

// Usage closes the meter and returns the usage reported last, and whether there was one.
func (m *Meter) Usage() (Usage, bool) {
	r := m.Close(true)
	return r.Usage, r.HasUsage
}

// fill derives what is missing from the total: an embedding's usage has no output, some servers give only totals.
func (u *Usage) fill(total int) {
	if known := u.Input + u.CacheWrite + u.Output; known < total && u.Input == 0 {
		u.Input = total - known
	}
}

func (m *Meter) count(text string) int {
	if m.opts.Count != nil {
		return m.opts.Count(text)
	}
	return (len(text) + 3) / 4
}

// Enter implements [Visitor].
func (m *Meter) Enter([]byte, byte) Action { return Walk }

// Leave implements [Visitor].
func (m *Meter) Leave(path []byte) { m.final(path) }

// Captured implements [Visitor].
func (m *Meter) Captured([]byte, []byte, bool) {}

func (m *Meter) final(path []byte) {
	if m.opts.Fields[string(path)] == Final {
		m.reading.Done = true
	}
}

// Text implements [Visitor].
func (m *Meter) Text(path, piece []byte, last bool) bool {
	switch role := m.opts.Fields[string(path)]; role {
	case Text:
		m.text = append(m.text, piece...)
		if len(m.text) >= maxShownText {
			m.reading.Shown += m.count(string(m.text))
			m.text = m.text[:0]
		}
	case Final:
		m.reading.Done = true
		return false
	case ErrorType, ErrorCode, ErrorText:
		if room := maxErrorField - len(m.field); room > 0 {
			m.field = append(m.field, piece[:min(room, len(piece))]...)
		}
		if !last {
			return true
		}
		switch role {
		case ErrorType:
			m.reading.ErrorType = string(m.field)
		case ErrorCode:
			m.reading.ErrorCode = string(m.field)
		default:
			m.reading.ErrorText = string(m.field)
		}
		m.field = m.field[:0]
	default:
		return false
	}
	return true
}

// Literal implements [Visitor].
func (m *Meter) Literal(path, text []byte) {
	role := m.opts.Fields[string(path)]
	if role == 0 || string(text) == "null" {
		return
	}
	if role == Final {
		m.reading.Done = true
		return
	}
	n, ok := tokens(text)
	if !ok {
		return
	}
	u := &m.reading.Usage
	switch role {
	case Input:
		u.Input = n
	case CacheWrite:
		u.CacheWrite = n
	case CacheRead:
		u.CacheRead = n
	case Output:
		u.Output = n
	case Reasoning:
		u.Reasoning = n
	case Total:
		m.total = n
	default:
		return
	}
	m.reading.HasUsage, m.reported = true, true
}

// maxTokens is more than any call can use; a larger number is a fault of the server.
const maxTokens = 1 << 40

// tokens reads a count; what is negative, not finite, too large or no number is none.
func tokens(text []byte) (int, bool) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(f >= 0) || f > maxTokens {
		return 0, false
	}
	return int(f), true
}
