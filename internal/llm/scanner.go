package llm

import (
	"bytes"
	"errors"
	"fmt"
)

// Limits of a [Scanner]. Beyond them a document is refused (depth) or cut (keys, captures), never buffered.
const (
	maxDepth   = 512     // nesting of objects and arrays
	maxKey     = 256     // bytes of one key that are kept in a path
	maxLiteral = 64      // bytes of a number that are kept
	maxCapture = 4 << 20 // bytes of a captured value
)

// Action is a [Visitor]'s decision about an object or array that a [Scanner] is about to read.
type Action uint8

const (
	// Walk reports the parts of the value.
	Walk Action = iota
	// Skip reports nothing of the value.
	Skip
	// Capture collects the bytes of the value and reports them through [Visitor.Captured].
	Capture
)

// Visitor receives the parts of a JSON document from a [Scanner], in order.
//
// A path names where a part stands: keys and "[]" (any element of an array) joined by dots, as in
// "messages.[].content"; the document itself is "". A dot or bracket inside a key is replaced by a unit separator
// (0x1F), so that a key cannot be mistaken for a path. Paths and bytes are valid only during the call.
type Visitor interface {
	// Enter is called before an object ('{') or array ('[') and decides how it is read.
	Enter(path []byte, kind byte) Action
	// Leave is called after an object or array that was walked.
	Leave(path []byte)
	// Text is called with a string's unescaped bytes, in pieces; last marks the last piece, which may be empty.
	// Returning false passes over the rest of the string.
	Text(path, piece []byte, last bool) bool
	// Literal is called with a number, true, false or null.
	Literal(path, text []byte)
	// Captured is called with the raw bytes of a value that Enter wanted captured. Whole is false where the value was
	// larger than a capture may be; raw is then its beginning.
	Captured(path, raw []byte, whole bool)
}

// ErrSyntax is wrapped by the errors of a [Scanner] whose input is not JSON.
var ErrSyntax = errors.New("llm: not valid JSON")

type scanState uint8

const (
	wantValue scanState = iota
	wantValueOrEnd
	wantKey
	wantKeyOrEnd
	wantColon
	wantCommaOrEnd
	inString
	inEscape
	inUnicode
	inLiteral
	atEnd
	failed
)

type frame struct {
	kind    byte // '{' or '['
	pathLen int  // length of the path of the container itself
}

// Scanner reads one JSON document that is written to it piece by piece (it is an [io.Writer] whose Write never fails) and
// reports its parts to a [Visitor]. It keeps no more than the path to where it is, so that a document of any size takes
// the same memory. Reading is lenient in what does not matter to a reader of known fields (control characters in
// strings, leading zeros) and strict in structure.
//
// The zero Scanner is not usable; see [NewScanner]. A Scanner is not safe for concurrent use.
type Scanner struct {
	visitor Visitor
	state   scanState
	stack   []frame
	path    []byte
	err     error
	offset  int64
	stopped bool

	key       bool // the string being read is a key
	keyLen    int
	muted     bool // the rest of the string being read is passed over
	hex       [4]byte
	hexLen    int
	surrogate rune // high half of a pair, 0 if none
	literal   []byte

	quietDepth int // length of the stack at which a skipped or captured value ends; 0 if none
	capturing  bool
	raw        []byte
	rawCut     bool
}

// NewScanner returns a Scanner that reports to v.
func NewScanner(v Visitor) *Scanner { return &Scanner{visitor: v} }

// Reset makes the Scanner ready for another document, keeping its memory.
func (s *Scanner) Reset() {
	*s = Scanner{visitor: s.visitor, stack: s.stack[:0], path: s.path[:0], literal: s.literal[:0], raw: s.raw[:0]}
}

// Err says why the document cannot be read, or nil. A document that merely is not finished has no error; see [Scanner.Close].
func (s *Scanner) Err() error { return s.err }

// Close says that no more comes: a literal at the end is reported, and an unfinished document is an error.
func (s *Scanner) Close() error {
	if s.state == inLiteral && len(s.stack) == 0 && !s.stopped {
		s.endLiteral()
	}
	if s.err == nil && s.state != atEnd && !s.stopped {
		s.fail("the document ends early")
	}
	return s.err
}

// Stop ends the reading: whatever else is written is passed over.
func (s *Scanner) Stop() { s.stopped = true }

func (s *Scanner) fail(why string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w at byte %d: %s", ErrSyntax, s.offset, why)
	}
	s.state = failed
}

// Write reads the next piece. It always takes all of p and never fails, so that a Scanner can stand behind an
// [io.TeeReader] without disturbing what passes; see [Scanner.Err].
func (s *Scanner) Write(p []byte) (int, error) {
	for i := 0; i < len(p); {
		if s.state == failed || s.stopped {
			break
		}
		n := s.step(p[i:])
		i += n
		s.offset += int64(n)
	}
	return len(p), nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// step consumes at least one byte of p, except when it ends a literal, whose next byte belongs to what follows.
func (s *Scanner) step(p []byte) int {
	c := p[0]
	switch s.state {
	case inString:
		return s.stringBytes(p)
	case inEscape:
		s.keep(p[:1])
		s.escape(c)
		return 1
	case inUnicode:
		s.keep(p[:1])
		s.unicode(c)
		return 1
	case inLiteral:
		if isSpace(c) || c == ',' || c == ']' || c == '}' {
			s.endLiteral()
			return 0
		}
		s.keep(p[:1])
		if len(s.literal) < maxLiteral {
			s.literal = append(s.literal, c)
		}
		return 1
	}
	if isSpace(c) {
		s.keep(p[:1])
		return 1
	}
	switch s.state {
	case wantValueOrEnd:
		if c == ']' {
			s.closeContainer(p[:1])
			return 1
		}
		s.beginValue(c, p[:1])
	case wantValue:
		s.beginValue(c, p[:1])
	case wantKeyOrEnd, wantKey:
		switch {
		case c == '"':
			s.keep(p[:1])
			s.beginKey()
		case c == '}' && s.state == wantKeyOrEnd:
			s.closeContainer(p[:1])
		default:
			s.fail("a key is wanted")
		}
	case wantColon:
		s.keep(p[:1])
		if c != ':' {
			s.fail("a colon is wanted")
			return 1
		}
		s.state = wantValue
	case wantCommaOrEnd:
		s.afterValue(c, p[:1])
	case atEnd:
		s.fail("something follows the document")
	}
	return 1
}

func (s *Scanner) afterValue(c byte, p []byte) {
	kind := s.stack[len(s.stack)-1].kind
	switch {
	case c == ',' && kind == '{':
		s.keep(p)
		s.state = wantKey
	case c == ',':
		s.keep(p)
		s.state = wantValue
	case c == '}' && kind == '{', c == ']' && kind == '[':
		s.closeContainer(p)
	default:
		s.fail("a comma or the end of a container is wanted")
	}
}

// keep appends to the capture that is under way, if any.
func (s *Scanner) keep(p []byte) {
	if !s.capturing {
		return
	}
	if len(s.raw)+len(p) > maxCapture {
		s.rawCut = true
		return
	}
	s.raw = append(s.raw, p...)
}

func (s *Scanner) quiet() bool { return s.quietDepth > 0 }

func (s *Scanner) beginValue(c byte, p []byte) {
	switch c {
	case '{', '[':
		s.openContainer(c, p)
	case '"':
		s.keep(p)
		s.key, s.muted, s.surrogate = false, s.quiet(), 0
		s.state = inString
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 't', 'f', 'n':
		s.keep(p)
		s.literal = append(s.literal[:0], c)
		s.state = inLiteral
	default:
		s.fail("a value is wanted")
	}
}

func (s *Scanner) openContainer(c byte, p []byte) {
	if len(s.stack) >= maxDepth {
		s.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
		return
	}
	if !s.quiet() {
		switch s.visitor.Enter(s.path, c) {
		case Skip:
			s.quietDepth = len(s.stack) + 1
		case Capture:
			s.quietDepth = len(s.stack) + 1
			s.capturing, s.rawCut, s.raw = true, false, s.raw[:0]
		}
	}
	s.keep(p)
	s.stack = append(s.stack, frame{c, len(s.path)})
	if c == '{' {
		s.state = wantKeyOrEnd
		return
	}
	s.state = wantValueOrEnd
	if !s.quiet() {
		s.extend([]byte("[]"))
	}
}

func (s *Scanner) extend(segment []byte) {
	if len(s.path) > 0 {
		s.path = append(s.path, '.')
	}
	s.path = append(s.path, segment...)
}

func (s *Scanner) closeContainer(p []byte) {
	s.keep(p)
	top := s.stack[len(s.stack)-1]
	depth := len(s.stack)
	s.stack = s.stack[:depth-1]
	if !s.quiet() {
		s.path = s.path[:top.pathLen]
		s.visitor.Leave(s.path)
	} else if depth == s.quietDepth {
		s.quietDepth = 0
		if s.capturing {
			s.capturing = false
			s.visitor.Captured(s.path, s.raw, !s.rawCut)
		}
	}
	s.endValue()
}

func (s *Scanner) endValue() {
	if len(s.stack) == 0 {
		s.state = atEnd
		return
	}
	s.state = wantCommaOrEnd
}

func (s *Scanner) endLiteral() {
	if !validLiteral(s.literal) {
		s.fail("a value is wanted")
		return
	}
	if !s.quiet() {
		s.visitor.Literal(s.path, s.literal)
	}
	s.endValue()
}

func validLiteral(b []byte) bool {
	switch b[0] {
	case 't':
		return string(b) == "true"
	case 'f':
		return string(b) == "false"
	case 'n':
		return string(b) == "null"
	}
	for _, c := range b {
		if (c < '0' || c > '9') && !bytes.ContainsRune([]byte("+-.eE"), rune(c)) {
			return false
		}
	}
	return true
}

func (s *Scanner) beginKey() {
	s.key, s.muted, s.surrogate, s.keyLen = true, s.quiet(), 0, 0
	s.state = inString
	if s.muted {
		return
	}
	s.path = s.path[:s.stack[len(s.stack)-1].pathLen]
	s.extend(nil)
}
