package provider

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// call sends one request to p and returns the recorded answer.
func call(t *testing.T, p *Provider, path, body string, headers ...string) *http.Response {
	t.Helper()
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result()
}

// newProvider makes a provider whose configuration must be right.
func newProvider(t *testing.T, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// decode reads the body of res as JSON into v.
func decode(t *testing.T, res *http.Response, v any) {
	t.Helper()
	body := text(t, res)
	if err := json.Unmarshal([]byte(body), v); err != nil {
		t.Fatalf("decode %q: %v", body, err)
	}
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func chatBody(text string, more string) string {
	return fmt.Sprintf(`{"model":"gpt-4o","messages":[{"role":"user","content":%q}]%s}`, text, more)
}

// event is one event of a text/event-stream.
type event struct{ name, data string }

// readEvents splits a stream into its events and fails on any other framing.
func readEvents(t *testing.T, stream string) []event {
	t.Helper()
	if !strings.HasSuffix(stream, "\n\n") {
		t.Fatalf("stream does not end with an empty line: %q", stream)
	}
	var all []event
	for frame := range strings.SplitSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
		var e event
		for line := range strings.SplitSeq(frame, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			switch {
			case ok && name == "event" && e.name == "" && e.data == "":
				e.name = value
			case ok && name == "data" && e.data == "":
				e.data = value
			default:
				t.Fatalf("frame %q has an unexpected line", frame)
			}
		}
		all = append(all, e)
	}
	return all
}

// names are the event lines of events.
func names(events []event) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.name)
	}
	return all
}

// wantHeader checks one header of res.
func wantHeader(t *testing.T, res *http.Response, name, want string) {
	t.Helper()
	if got := res.Header.Get(name); got != want {
		t.Errorf("header %s is %q, want %q", name, got, want)
	}
}

// wantStatus checks the status of res and shows the body where it differs.
func wantStatus(t *testing.T, res *http.Response, want int) {
	t.Helper()
	if res.StatusCode != want {
		t.Fatalf("status %d, want %d: %s", res.StatusCode, want, text(t, res))
	}
}
