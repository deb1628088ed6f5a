package llm

import (
	"bytes"
	"unicode/utf8"
)

// stringBytes reads up to the end of the string, the next escape, or the end of p.
func (s *Scanner) stringBytes(p []byte) int {
	end := bytes.IndexByte(p, '"')
	plain := p
	if end >= 0 {
		plain = p[:end]
	}
	if esc := bytes.IndexByte(plain, '\\'); esc >= 0 {
		s.keep(p[:esc+1])
		s.emit(plain[:esc])
		s.state = inEscape
		return esc + 1
	}
	if end < 0 {
		s.keep(p)
		s.emit(p)
		return len(p)
	}
	s.keep(p[:end+1])
	s.emit(plain)
	s.endString()
	return end + 1
}

// emit passes on unescaped bytes of the string being read.
func (s *Scanner) emit(b []byte) {
	if len(b) == 0 {
		return
	}
	s.flushSurrogate()
	s.pass(b)
}

func (s *Scanner) pass(b []byte) {
	if s.muted {
		return
	}
	if !s.key {
		s.muted = !s.visitor.Text(s.path, b, false) || s.stopped
		return
	}
	for _, c := range b {
		if s.keyLen >= maxKey {
			return
		}
		if c == '.' || c == '[' || c == ']' {
			c = 0x1F
		}
		s.path = append(s.path, c)
		s.keyLen++
	}
}

func (s *Scanner) flushSurrogate() {
	if s.surrogate != 0 {
		s.surrogate = 0
		s.pass([]byte("\uFFFD"))
	}
}

func (s *Scanner) endString() {
	s.flushSurrogate()
	if s.key {
		s.state = wantColon
		return
	}
	if !s.muted {
		s.visitor.Text(s.path, nil, true)
	}
	s.endValue()
}

func (s *Scanner) escape(c byte) {
	s.state = inString
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		s.state, s.hexLen = inUnicode, 0
		return
	default:
		s.fail("unknown escape in a string")
		return
	}
	s.emit([]byte{c})
}

func (s *Scanner) unicode(c byte) {
	switch {
	case c >= '0' && c <= '9':
		c -= '0'
	case c >= 'a' && c <= 'f':
		c -= 'a' - 10
	case c >= 'A' && c <= 'F':
		c -= 'A' - 10
	default:
		s.fail("four hexadecimal digits are wanted after \\u")
		return
	}
	s.hex[s.hexLen] = c
	s.hexLen++
	if s.hexLen < 4 {
		return
	}
	s.state = inString
	r := rune(s.hex[0])<<12 | rune(s.hex[1])<<8 | rune(s.hex[2])<<4 | rune(s.hex[3])
	switch {
	case r >= 0xDC00 && r < 0xE000 && s.surrogate != 0:
		r = (s.surrogate-0xD800)<<10 | (r - 0xDC00) + 0x10000
		s.surrogate = 0
	case r >= 0xD800 && r < 0xDC00:
		s.flushSurrogate()
		s.surrogate = r
		return
	case r >= 0xDC00 && r < 0xE000:
		r = utf8.RuneError
	}
	var buf [utf8.UTFMax]byte
	s.emit(buf[:utf8.EncodeRune(buf[:], r)])
}
