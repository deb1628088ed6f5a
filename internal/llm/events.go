package llm

import "io"

// maxFieldName is how much of a line's field name is kept; longer names are unknown ones.
const maxFieldName = 16

// Events takes server-sent events apart as they are written to it (it is an [io.Writer] whose Write never fails) and
// passes on the data of each, piece by piece, so that even an endless line takes no memory.
//
// Source: WHATWG HTML, "Server-sent events", section "Parsing an event stream". The pieces of several data lines of one
// event are joined by a line feed; other fields and comments are passed over.
//
// The zero Events discards. It is not safe for concurrent use.
type Events struct {
	// Data receives the data of the events.
	Data io.Writer
	// End is called at the end of each event that has data, which includes one that the end of the stream cuts off; see
	// [Events.Close].
	End func()

	name    []byte
	inValue bool // behind the colon
	first   bool // at the first byte behind the colon, where one space is dropped
	hasData bool
	afterCR bool
}

// Write implements [io.Writer].
func (e *Events) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if e.afterCR {
			e.afterCR = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		if !e.inValue {
			p = e.nameByte(p)
			continue
		}
		end := lineEnd(p)
		e.value(p[:end])
		if end == len(p) {
			break
		}
		e.endLine(p[end])
		p = p[end+1:]
	}
	return n, nil
}

func lineEnd(p []byte) int {
	for i, c := range p {
		if c == '\n' || c == '\r' {
			return i
		}
	}
	return len(p)
}

func (e *Events) nameByte(p []byte) []byte {
	switch c := p[0]; c {
	case '\n', '\r':
		e.endLine(c)
	case ':':
		e.inValue, e.first = true, true
		if string(e.name) == "data" && e.hasData {
			e.pass([]byte{'\n'})
		}
	default:
		if len(e.name) <= maxFieldName {
			e.name = append(e.name, c)
		}
	}
	return p[1:]
}

func (e *Events) value(p []byte) {
	if string(e.name) != "data" || len(p) == 0 {
		return
	}
	if e.first && p[0] == ' ' {
		p = p[1:]
	}
	e.first = false
	e.hasData = true
	e.pass(p)
}

func (e *Events) pass(p []byte) {
	if e.Data != nil && len(p) > 0 {
		_, _ = e.Data.Write(p)
	}
}

func (e *Events) endLine(c byte) {
	e.afterCR = c == '\r'
	if !e.inValue && len(e.name) == 0 { // an empty line ends the event
		e.endEvent()
	}
	e.name, e.inValue, e.first = e.name[:0], false, false
}

func (e *Events) endEvent() {
	if e.hasData && e.End != nil {
		e.End()
	}
	e.hasData = false
}

// Close says that the stream has ended. The last event may lack its empty line.
func (e *Events) Close() { e.endEvent() }
