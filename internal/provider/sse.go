package provider

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// events writes a text/event-stream.
type events struct {
	x    *exchange
	ctl  *http.ResponseController
	sent int
}

// stream starts a stream; the headers must be set.
func (x *exchange) stream() *events {
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	x.api.stamp(h, time.Since(x.begun))
	return &events{x: x, ctl: http.NewResponseController(x.w)}
}

// send writes one event with v as JSON; an empty name leaves the event line out, as OpenAI's chat stream does.
func (e *events) send(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("provider: an event of type %T can't be encoded: %v", v, err)) // a bug in this package
	}
	if e.x.fault == FaultMalformed && e.sent == 1 {
		data = data[:len(data)/2]
	}
	e.sent++
	return e.raw(name, data)
}

// raw writes one event with data as it is.
func (e *events) raw(name string, data []byte) error {
	var frame []byte
	if name != "" {
		frame = fmt.Appendf(frame, "event: %s\n", name)
	}
	frame = fmt.Appendf(frame, "data: %s\n\n", data)
	if _, err := e.x.w.Write(frame); err != nil {
		return err
	}
	return e.ctl.Flush()
}

// cutAt reports errCut where the cut fault ends an answer: half way.
func (x *exchange) cutAt(a answer, end int64) error {
	if x.fault == FaultCut && 2*end >= a.tokens {
		return errCut
	}
	return nil
}
