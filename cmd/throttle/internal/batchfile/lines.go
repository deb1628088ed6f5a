// Package batchfile reads and writes the files of OpenAI's Batch API: requests in, results out, one JSON object a line.
//
// Source: OpenAI's Batch API guide and the "request input object" and "request output object" of its reference.
package batchfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Lines reads lines of any length up to a limit, holding no more than one of them.
type Lines struct {
	r      *bufio.Reader
	max    int
	number int
	offset int64
}

// Line is one line of a file.
type Line struct {
	// Number is the line's, from 1.
	Number int
	// Text is without the line's end; the caller may keep it.
	Text []byte
	// End is the offset of the first byte after the line and its end.
	End int64
	// Whole says that the line was ended by a newline. The last line of a file need not be.
	Whole bool
}

// LongLineError says that a line is longer than the limit. The reader has gone past it.
type LongLineError struct {
	Number int
	Max    int
}

func (e *LongLineError) Error() string {
	return fmt.Sprintf("line %d is longer than %d bytes", e.Number, e.Max)
}

// NewLines reads from r lines of at most max bytes. A byte order mark at the start is passed over.
func NewLines(r io.Reader, max int) *Lines {
	l := &Lines{r: bufio.NewReaderSize(r, 256<<10), max: max}
	if head, err := l.r.Peek(3); err == nil && bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		n, _ := l.r.Discard(3) // they were there
		l.offset = int64(n)
	}
	return l
}

// Next returns the next line. At the end the error is io.EOF; after a [*LongLineError] the next line can be read.
func (l *Lines) Next() (Line, error) {
	var text []byte
	long := false
	for {
		piece, err := l.r.ReadSlice('\n')
		l.offset += int64(len(piece))
		if len(text)+len(piece) > l.max+len("\r\n") {
			long, text = true, nil
		}
		if !long {
			text = append(text, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !(errors.Is(err, io.EOF) && (len(text) > 0 || long)) {
			return Line{}, err
		}
		l.number++
		line := Line{Number: l.number, End: l.offset}
		text, line.Whole = bytes.CutSuffix(text, []byte("\n"))
		line.Text = bytes.TrimSuffix(text, []byte("\r"))
		if long || len(line.Text) > l.max {
			return Line{}, &LongLineError{l.number, l.max}
		}
		return line, nil
	}
}
