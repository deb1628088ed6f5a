package llm

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tokenthrottle/throttle"
)

// meterPipe is a meter, behind a decompressor where the answer needs one.
type meterPipe struct {
	meter *Meter
	unzip *unzip
}

// newMeter returns a meter for an answer, nil if its encoding isn't understood.
func (x *exchange) newMeter(resp *http.Response) *meterPipe {
	m := NewMeter(MeterOptions{Fields: x.t.dialect.Fields(), Stream: isStream(resp.Header), Count: x.call.CountText})
	switch strings.ToLower(resp.Header.Get("Content-Encoding")) {
	case "", "identity":
		return &meterPipe{meter: m}
	case "gzip":
		return &meterPipe{m, newUnzip(m)}
	}
	return nil
}

func (p *meterPipe) Write(b []byte) (int, error) {
	if p.unzip != nil {
		return p.unzip.Write(b)
	}
	return p.meter.Write(b)
}

func (p *meterPipe) close(complete bool) Reading {
	if p.unzip != nil {
		_ = p.unzip.Close()
	}
	return p.meter.Close(complete)
}

// finished reports whether nothing more of interest can come. Behind a decompressor that isn't known before the end.
func (p *meterPipe) finished() bool { return p.unzip == nil && p.meter.Finished() }

// handOver gives the answer to the caller, with a body that settles when it ends.
func (x *exchange) handOver(resp *http.Response) {
	x.handed = true
	b := &answerBody{body: resp.Body, x: x, meter: x.newMeter(resp)}
	if resp.Body == nil || resp.Body == http.NoBody || resp.ContentLength == 0 {
		b.end(true)
		return
	}
	resp.Body = b
	if w, ok := b.body.(io.Writer); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = struct {
			io.ReadCloser
			io.Writer
		}{b, w}
	}
}

// answerBody is a success's body. Everything passes as it comes; the call is settled as soon as its usage is known for
// good, at the latest when the body ends or is closed.
type answerBody struct {
	body io.ReadCloser
	x    *exchange

	mu    sync.Mutex // a body may be closed while it is read
	meter *meterPipe // nil if the encoding isn't understood
	ended bool
}

// Read implements [io.Reader].
func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return n, err
	}
	if b.meter != nil {
		_, _ = b.meter.Write(p[:n])
	}
	if err != nil || b.meter != nil && b.meter.finished() {
		b.end(err == nil || err == io.EOF)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *answerBody) Close() error {
	b.mu.Lock()
	b.end(false)
	b.mu.Unlock()
	return b.body.Close()
}

// end settles, once. Complete says that the body was read to its end.
func (b *answerBody) end(complete bool) {
	if b.ended {
		return
	}
	b.ended = true
	x := b.x
	var used throttle.Usage // everything that was reserved, if the answer can't be read
	x.answer.Complete = complete
	if b.meter != nil {
		reading := b.meter.close(complete)
		x.answer.Reading, x.answer.Complete = reading, complete || reading.Done
		used = x.restrict(x.t.dialect.Used(x.call, reading))
	}
	x.settle(used)
	x.report()
}
