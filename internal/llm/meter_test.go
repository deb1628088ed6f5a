package llm

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

var testFields = map[string]Role{
	"usage.in": Input, "usage.out": Output, "usage.total": Total, "usage.read": CacheRead, "usage.write": CacheWrite,
	"choices.[].text": Text, "choices.[].finish": Final, "error.type": ErrorType, "error.code": ErrorCode, "error.message": ErrorText,
}

// meter reads an answer in pieces of the given size.
func meter(answer string, stream bool, size int) Reading {
	m := NewMeter(MeterOptions{Fields: testFields, Stream: stream})
	for b := []byte(answer); len(b) > 0; {
		n := min(size, len(b))
		_, _ = m.Write(b[:n])
		b = b[n:]
	}
	return m.Close(true)
}

func TestMeter(t *testing.T) {
	for name, v := range map[string]struct {
		answer string
		stream bool
		want   Reading
	}{
		"document":      {`{"choices":[{"text":"hello"}],"usage":{"in":7,"out":3,"read":2,"write":1}}`, false, Reading{Usage: Usage{Input: 7, Output: 3, CacheRead: 2, CacheWrite: 1}, HasUsage: true, Done: true}},
		"only a total":  {`{"usage":{"total":9}}`, false, Reading{Usage: Usage{Input: 9}, HasUsage: true, Done: true}},
		"no usage":      {`{"choices":[{"text":"12345678"}]}`, false, Reading{Shown: 2, Done: true}},
		"null usage":    {`{"usage":null}`, false, Reading{Done: true}},
		"odd usage":     {`{"usage":{"in":-1,"out":"3","total":1e99}}`, false, Reading{Done: true}},
		"cut":           {`{"choices":[{"text":"12345678`, false, Reading{Shown: 2}},
		"not JSON":      {`<html>`, false, Reading{}},
		"error":         {`{"error":{"type":"tokens","code":"rate_limit_exceeded","message":"Slow down."}}`, false, Reading{Done: true, ErrorType: "tokens", ErrorCode: "rate_limit_exceeded", ErrorText: "Slow down."}},
		"stream":        {"data: {\"choices\":[{\"text\":\"hel\"}]}\n\ndata: {\"choices\":[{\"text\":\"lo\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"in\":7,\"out\":3}}\n\ndata: [DONE]\n\n", true, Reading{Usage: Usage{Input: 7, Output: 3}, HasUsage: true, Done: true}},
		"cumulative":    {"data: {\"usage\":{\"in\":7,\"out\":1}}\n\ndata: {\"usage\":{\"in\":7,\"out\":2}}\n\ndata: {\"usage\":{\"out\":5}}\n\n", true, Reading{Usage: Usage{Input: 7, Output: 5}, HasUsage: true}},
		"cut stream":    {"data: {\"choices\":[{\"text\":\"hello wo\"}]}\n\ndata: {\"choices\":[{\"text\":\"rld!", true, Reading{Shown: 3}},
		"finish reason": {"data: {\"choices\":[{\"text\":\"hell\",\"finish\":null}]}\n\ndata: {\"choices\":[{\"finish\":\"stop\"}]}\n\n", true, Reading{Shown: 1, Done: true}},
		"CRLF":          {"event: x\r\ndata: {\"usage\":\r\ndata: {\"in\":7}}\r\n\r\n: comment\r\ndata:[DONE]\r\n\r\n", true, Reading{Usage: Usage{Input: 7}, HasUsage: true, Done: true}},
		"CR":            {"data: {\"usage\":{\"in\":7}}\r\rdata: [DONE]\r\r", true, Reading{Usage: Usage{Input: 7}, HasUsage: true, Done: true}},
		"no last line":  {"data: {\"usage\":{\"in\":7}}\n\ndata: [DONE]", true, Reading{Usage: Usage{Input: 7}, HasUsage: true, Done: true}},
		"bad event":     {"data: {\"usage\":{\"in\":\n\ndata: oops\n\ndata: {\"usage\":{\"out\":4}}\n\n", true, Reading{Usage: Usage{Output: 4}, HasUsage: true}},
		"no event":      {"{\"usage\":{\"in\":7}}", true, Reading{}},
	} {
		for _, size := range []int{1, 3, 1 << 20} {
			v.want.Stream = v.stream
			if got := meter(v.answer, v.stream, size); got != v.want {
				t.Errorf("%s, in pieces of %d:\n%+v, want\n%+v", name, size, got, v.want)
			}
		}
	}
}

// A hostile server can send lines, strings, keys and numbers without end.
func TestMeterMemory(t *testing.T) {
	piece := bytes.Repeat([]byte("x"), 1<<16)
	for _, start := range []string{"data: ", "", "xxxxxxxxxxxxxxxxxxxx", `data: {"a":"`, `data: {"`, `data: {"a":1`, `data: {"error":{"message":"`, "data: x\ndata: "} {
		m := NewMeter(MeterOptions{Fields: testFields, Stream: true})
		_, _ = m.Write([]byte(start))
		_, _ = m.Write(piece)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			_, _ = m.Write(piece)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<19 {
			t.Errorf("%q: %d bytes allocated for 6.5 MB", start, grown)
		}
	}
	// Deltas without end are counted as they come.
	m := NewMeter(MeterOptions{Fields: testFields, Stream: true})
	delta := fmt.Sprintf("data: {\"choices\":[{\"text\":%q}]}\n\n", strings.Repeat("x", 4096))
	for range 1000 {
		_, _ = m.Write([]byte(delta))
	}
	if cap(m.text) > 4*maxShownText {
		t.Errorf("%d bytes of text kept", cap(m.text))
	}
	if got := m.Close(false).Shown; got != 1024_000 {
		t.Errorf("%d tokens in 4,096,000 bytes", got)
	}
}

func FuzzMeter(f *testing.F) {
	f.Add([]byte("data: {\"usage\":{\"in\":7}}\n\ndata: [DONE]\n\n"), true, 3)
	f.Add([]byte(`{"choices":[{"text":"a"}],"usage":{"in":7,"total":1e3}}`), false, 1)
	f.Add([]byte("event: x\r\ndata\r\n\r\r\n:"), true, 2)
	f.Fuzz(func(t *testing.T, answer []byte, stream bool, size int) {
		if size < 1 {
			size = 1
		}
		pieces, whole := meter(string(answer), stream, size), meter(string(answer), stream, len(answer)+1)
		if pieces != whole {
			t.Fatalf("in pieces of %d: %+v; at once: %+v", size, pieces, whole)
		}
		u := whole.Usage
		if u.Input < 0 || u.Output < 0 || u.CacheRead < 0 || u.CacheWrite < 0 || whole.Shown < 0 || whole.Shown > len(answer) {
			t.Fatalf("%+v", whole)
		}
	})
}
