package llm

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// maxBuffered is how much of a request's body is kept in memory where the request cannot rewind it itself (it has no
// GetBody). A longer one is counted by its beginning and its length, and is not sent twice.
const maxBuffered = 1 << 20

// requestBody is a request's body that can be read again, if it can.
type requestBody struct {
	request *http.Request
	head    []byte    // its beginning, where there is no GetBody
	tail    io.Reader // what follows, nil if head is all of it
	sent    bool
}

func newRequestBody(r *http.Request) (*requestBody, error) {
	b := &requestBody{request: r}
	if r.Body == nil || r.Body == http.NoBody || r.GetBody != nil {
		return b, nil
	}
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(r.Body, maxBuffered))
	if err != nil {
		return b, err
	}
	b.head = head.Bytes()
	if n == maxBuffered {
		b.tail = r.Body
	}
	return b, nil
}

func (b *requestBody) empty() bool { return b.request.Body == nil || b.request.Body == http.NoBody }

// rewinds reports whether the request can be sent once more.
func (b *requestBody) rewinds() bool { return !b.sent || b.empty() || b.tail == nil }

// open reads what is there of the body, for counting, decompressed.
func (b *requestBody) open() (io.ReadCloser, error) {
	var raw io.ReadCloser
	if b.request.GetBody != nil {
		var err error
		if raw, err = b.request.GetBody(); err != nil {
			return nil, err
		}
	} else {
		raw = io.NopCloser(bytes.NewReader(b.head))
	}
	if !strings.EqualFold(b.request.Header.Get("Content-Encoding"), "gzip") {
		return raw, nil
	}
	z, err := gzip.NewReader(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{z, raw}, nil
}

// opener is open, or nil if there is nothing to read.
func (b *requestBody) opener() Opener {
	if b.empty() {
		return nil
	}
	return b.open
}

// next is the body for the next try.
func (b *requestBody) next() (io.ReadCloser, error) {
	first := !b.sent
	b.sent = true
	switch {
	case b.empty():
		return b.request.Body, nil
	case b.request.GetBody == nil && b.tail == nil:
		if first { // the original is read to its end; close it with the first copy
			return struct {
				io.Reader
				io.Closer
			}{bytes.NewReader(b.head), b.request.Body}, nil
		}
		return io.NopCloser(bytes.NewReader(b.head)), nil
	case b.request.GetBody == nil:
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(b.head), b.tail), b.request.Body}, nil
	case first:
		return b.request.Body, nil
	}
	return b.request.GetBody()
}

// close closes the original where it was never sent.
func (b *requestBody) close() {
	if !b.sent && b.request.Body != nil {
		_ = b.request.Body.Close()
	}
}

// Uncounted is how many bytes of the request's body an [Opener] does not reach, for a dialect to guess what is in them.
func Uncounted(r *http.Request) int64 {
	if r.GetBody != nil || r.ContentLength <= maxBuffered {
		return 0
	}
	return r.ContentLength - maxBuffered
}

// unzip passes what is written to it on to w, decompressed. Close waits until all of it has been passed on. What is not
// valid ends the passing on, without an error.
type unzip struct {
	pipe *io.PipeWriter
	done chan struct{}
}

func newUnzip(w io.Writer) *unzip {
	pr, pw := io.Pipe()
	u := &unzip{pw, make(chan struct{})}
	go func() {
		defer close(u.done)
		// After an error the rest is read and dropped, so that the writer never waits.
		defer func() { _, _ = io.Copy(io.Discard, pr) }()
		z, err := gzip.NewReader(pr)
		if err != nil {
			return
		}
		_, _ = io.Copy(w, z)
	}()
	return u
}

func (u *unzip) Write(p []byte) (int, error) { return u.pipe.Write(p) }

func (u *unzip) Close() error {
	_ = u.pipe.Close()
	<-u.done
	return nil
}
