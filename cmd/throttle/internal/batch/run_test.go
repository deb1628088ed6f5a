package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/openai"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "sk-very-secret-key"

// bench is a batch in a directory of its own.
type bench struct {
	t *testing.T
	Options
}

func newBench(t *testing.T, baseURL string, lines ...string) *bench {
	t.Helper()
	dir := t.TempDir()
	u, err := url.Parse(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, Options: Options{
		In: filepath.Join(dir, "in.jsonl"), Out: filepath.Join(dir, "out.jsonl"), Rejects: filepath.Join(dir, "out.errors.jsonl"),
		BaseURL: u, Key: testKey, Driver: memory.New(), Limits: openai.Limits{RPM: 1_000_000, TPM: 100_000_000},
		MaxInFlight: 100, MaxAttempts: 3, Backoff: 5 * time.Millisecond, GiveUp: time.Minute, Timeout: time.Minute, Sync: time.Hour,
	}}
	if err := os.WriteFile(b.In, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) run() (Summary, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	s, err := Run(ctx, b.Options)
	for _, path := range []string{b.Out, b.Rejects} {
		if text, e := os.ReadFile(path); e == nil && strings.Contains(string(text), testKey) {
			b.t.Errorf("the key is in %s", path)
		}
	}
	if err != nil && strings.Contains(err.Error(), testKey) {
		b.t.Errorf("the key is in the error %v", err)
	}
	return s, err
}

// results are the lines of the output by custom_id.
func (b *bench) results() map[string]batchfile.Result {
	b.t.Helper()
	text, err := os.ReadFile(b.Out)
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]batchfile.Result{}
	for line := range strings.Lines(string(text)) {
		var r batchfile.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			b.t.Fatalf("%q: %v", line, err)
		}
		if _, twice := all[r.CustomID]; twice {
			b.t.Errorf("two results for %s", r.CustomID)
		}
		all[r.CustomID] = r
	}
	return all
}

func request(id, text string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4.1","max_tokens":20,"messages":[{"role":"user","content":%q}]}}`, id, text)
}

func requests(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = request(fmt.Sprint("r", i), fmt.Sprint("question ", i))
	}
	return lines
}

const answer = `{"id":"c","choices":[{"message":{"content":"yes"}}],
	"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}`

// serve starts a server whose answers f gives.
func serve(t *testing.T, f func(w http.ResponseWriter, r *http.Request, prompt string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Messages []struct{ Content string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Messages) == 0 {
			t.Errorf("a request that is not what the input has: %v", err)
			return
		}
		f(w, r, body.Messages[0].Content)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func reply(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func errorBody(code, message string) string {
	return fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":null,"code":%q}}`, message, code, code)
}

func TestEveryFaultIsOvercome(t *testing.T) {
	server, err := provider.Start(provider.Config{
		Faults: provider.Faults{RetryAfter: 10 * time.Millisecond, SlowBy: 50 * time.Millisecond, Probability: map[provider.Fault]float64{
			provider.FaultRateLimit: 0.03, provider.FaultInternal: 0.03, provider.FaultUnavailable: 0.03, provider.FaultOverloaded: 0.03,
			provider.FaultSlow: 0.03, provider.FaultCut: 0.03, provider.FaultMalformed: 0.03,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	b := newBench(t, server.URL+"/v1", requests(300)...)
	b.MaxAttempts = 50
	s, err := b.run()
	if err != nil {
		t.Fatal(err)
	}
	if s.Succeeded != 300 || s.Done() != 300 || s.Pending != 0 || s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	for id, r := range b.results() {
		if r.Failed() || r.Response.RequestID == "" {
			t.Errorf("%s: %+v", id, r)
		}
	}
	if len(b.results()) != 300 {
		t.Errorf("%d results", len(b.results()))
	}
	stats := server.Stats()["gpt-4.1"]
	for _, f := range []provider.Fault{"429", "500", "503", "529", "slow", "cut", "malformed"} {
		if stats.Faults[f] == 0 {
			t.Errorf("fault %s never came: the test tests nothing", f)
		}
	}
	if s.Rejected429 != int(stats.Faults["429"]) || s.ServerErrors != int(stats.Faults["500"]+stats.Faults["503"]+stats.Faults["529"]) {
		t.Errorf("counted %d × 429 and %d server errors; served %v", s.Rejected429, s.ServerErrors, stats.Faults)
	}
	again, err := b.run()
	if err != nil || again.Skipped != 300 || again.Sent != 0 || again.BeforeSucceeded != 300 {
		t.Errorf("again: %v, %+v", err, again)
	}
}

func TestAnswersAreKeptAsTheyCame(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request, prompt string) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+testKey {
			t.Errorf("authorization %q", got)
		}
		w.Header().Set("X-Request-Id", "req_"+prompt)
		reply(w, 200, answer)
	})
	b := newBench(t, u, request("a", "one"))
	s, err := b.run()
	if err != nil || s.TokensUsed != 10 {
		t.Errorf("%v, %+v", err, s)
	}
	r := b.results()["a"]
	want := `{"id":"c","choices":[{"message":{"content":"yes"}}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10}}`
	if r.Response.StatusCode != 200 || r.Response.RequestID != "req_one" || string(r.Response.Body) != want || r.Error != nil {
		t.Errorf("%+v: %s", r.Response, r.Response.Body)
	}
}

func TestWhatCannotSucceedIsNotTriedAgain(t *testing.T) {
	var mu sync.Mutex
	tries := map[string]int{}
	bodies := map[string]struct {
		status int
		body   string
	}{
		"bad":       {400, errorBody("invalid_request_error", "no such parameter; your key is "+testKey)},
		"missing":   {404, errorBody("model_not_found", "no such model")},
		"denied":    {403, errorBody("permission", "not this model")},
		"too big":   {429, errorBody("tokens", "Request too large for gpt-4.1: Limit 10, Requested 20.")},
		"html":      {422, "<html>\nnot\x00 JSON\xff</html>"},
		"elsewhere": {307, ""},
		"good":      {200, answer},
	}
	u := serve(t, func(w http.ResponseWriter, r *http.Request, prompt string) {
		mu.Lock()
		tries[prompt]++
		mu.Unlock()
		if prompt == "elsewhere" {
			w.Header().Set("Location", "https://evil.example/")
		}
		reply(w, bodies[prompt].status, bodies[prompt].body)
	})
	var lines []string
	for prompt := range bodies {
		lines = append(lines, request(prompt, prompt))
	}
	lines = append(lines, request("large", strings.Repeat("word ", 2000)))
	b := newBench(t, u, lines...)
	b.Limits = openai.Limits{RPM: 1_000_000, TPM: 1000}
	s, err := b.run()
	if err != nil || s.Succeeded != 1 || s.Failed != len(lines)-1 {
		t.Errorf("%v, %+v", err, s)
	}
	results := b.results()
	for prompt, c := range bodies {
		if r := results[prompt]; r.Response == nil || r.Response.StatusCode != c.status || !json.Valid(r.Response.Body) || r.Error != nil {
			t.Errorf("%s: %+v", prompt, r)
		}
		if tries[prompt] != 1 {
			t.Errorf("%s was sent %d times", prompt, tries[prompt])
		}
	}
	if r := results["large"]; r.Error == nil || r.Error.Code != codeTooLarge || r.Response != nil {
		t.Errorf("too large: %+v", r)
	}
	b.RetryFailed = true
	if s, err := b.run(); err != nil || s.Skipped != 1 || s.Sent != len(lines)-2 {
		t.Errorf("with RetryFailed: %v, %+v", err, s)
	}
}

func TestAnEmptyAccountStopsTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		code   string
	}{
		"quota": {429, "insufficient_quota"}, "billing": {429, "billing_not_active"}, "key": {401, "invalid_api_key"}, "payment": {402, ""},
	} {
		var served atomic.Int64
		u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
			if served.Add(1) <= 5 {
				reply(w, 200, answer)
				return
			}
			reply(w, c.status, errorBody(c.code, "Incorrect key: "+testKey))
		})
		b := newBench(t, u, requests(500)...)
		b.MaxInFlight = 10
		s, err := b.run()
		var stopped *StoppedError
		if !errors.As(err, &stopped) || stopped.Reason != Refused {
			t.Errorf("%s: %v", name, err)
		}
		if s.Succeeded != 5 || len(b.results()) != 5 || s.Failed != 0 || served.Load() > 30 {
			t.Errorf("%s: %d served, %+v", name, served.Load(), s)
		}
	}
}

func TestARequestThatAlwaysFailsDoesNotStopTheOthers(t *testing.T) {
	var poisoned atomic.Int64
	release := make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, prompt string) {
		switch {
		case prompt == "poison":
			if poisoned.Add(1) == 2 {
				close(release)
			}
			reply(w, 500, errorBody("server_error", "oops"))
		default:
			<-release // the others succeed after it has failed
			reply(w, 200, answer)
		}
	})
	b := newBench(t, u, append(requests(20), request("poison", "poison"))...)
	s, err := b.run()
	if err != nil || s.Succeeded != 20 || s.Failed != 1 || poisoned.Load() < 3 {
		t.Errorf("%v, tried %d times, %+v", err, poisoned.Load(), s)
	}
	if r := b.results()["poison"]; r.Response == nil || r.Response.StatusCode != 500 {
		t.Errorf("%+v", r)
	}
}

func TestAProviderThatIsDownStopsTheRunAndFailsNothing(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) { reply(w, 503, "down") })
	b := newBench(t, u, requests(20)...)
	b.GiveUp = 50 * time.Millisecond
	s, err := b.run()
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Reason != Unreachable || !strings.Contains(stopped.Detail, "503") {
		t.Errorf("%v", err)
	}
	if s.Failed != 0 || len(b.results()) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAWrongAddressShowsSoon(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	b := newBench(t, closed.URL, requests(20)...)
	b.GiveUp = time.Hour
	_, err := b.run()
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Reason != Unreachable {
		t.Errorf("%v", err)
	}
}

// brokenDriver fails as long as it is broken.
type brokenDriver struct {
	driver.Driver
	broken atomic.Int64 // so many calls more
}

func (d *brokenDriver) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	if d.broken.Add(-1) >= 0 {
		return nil, errors.New("store is down")
	}
	return d.Driver.Apply(ctx, batch)
}

func TestAStoreThatFails(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) { reply(w, 200, answer) })
	for _, c := range []struct {
		calls     int64
		succeeded int
		reason    Reason
	}{{2, 20, ""}, {1e9, 0, StoreFailed}} {
		d := &brokenDriver{Driver: memory.New()}
		d.broken.Store(c.calls)
		b := newBench(t, u, requests(20)...)
		b.Driver = d
		if c.reason != "" {
			b.GiveUp = 50 * time.Millisecond
		}
		s, err := b.run()
		var stopped *StoppedError
		if errors.As(err, &stopped) != (c.reason != "") || (stopped != nil && stopped.Reason != c.reason) || s.Succeeded != c.succeeded {
			t.Errorf("%d failing calls: %v, %+v", c.calls, err, s)
		}
	}
}

func TestLinesThatCannotBeRunAreReportedByNumber(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) { reply(w, 200, answer) })
	b := newBench(t, u, request("a", "1"), "", "{oops", request("b", "2"), request("a", "3"), `{"custom_id":"c"}`, request("d", "4"))
	s, err := b.run()
	if err != nil || s.Succeeded != 3 || s.Rejected != 3 || s.Lines != 6 {
		t.Errorf("%v, %+v", err, s)
	}
	text, err := os.ReadFile(b.Rejects)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		var rj batchfile.Reject
		if err := json.Unmarshal([]byte(line), &rj); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(rj.Line, " ", rj.Code))
	}
	if want := "[3 invalid_json_line 5 duplicate_custom_id 6 invalid_method]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestAnInterruptFinishesWhatIsInFlight(t *testing.T) {
	const atOnce = 10
	arrived := make(chan struct{}, 1000)
	release := make(chan struct{})
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		arrived <- struct{}{}
		<-release
		reply(w, 200, answer)
	})
	b := newBench(t, u, requests(500)...)
	b.Limits = openai.Limits{RPM: atOnce + 1, TPM: openai.NoLimit, Burst: 0.95} // the rest waits in line
	drain := make(chan struct{})
	b.Drain = drain
	go func() {
		for range atOnce {
			<-arrived
		}
		close(drain)
		close(release)
	}()
	s, err := b.run()
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Reason != Interrupted {
		t.Errorf("%v", err)
	}
	if s.Succeeded != atOnce || len(b.results()) != atOnce || s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func TestASecondInterruptCutsOff(t *testing.T) {
	arrived := make(chan struct{})
	gone := make(chan struct{})
	u := serve(t, func(_ http.ResponseWriter, r *http.Request, _ string) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	})
	b := newBench(t, u, requests(1)...)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := Run(ctx, b.Options)
	var stopped *StoppedError
	if !errors.As(err, &stopped) || stopped.Reason != Interrupted {
		t.Errorf("%v", err)
	}
	<-gone
	if n := len(b.results()); n != 0 {
		t.Errorf("%d results", n)
	}
}

func TestATryThatTakesTooLongIsTriedAgain(t *testing.T) {
	var n atomic.Int64
	u := serve(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if n.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		reply(w, 200, answer)
	})
	b := newBench(t, u, requests(1)...)
	b.Timeout = 100 * time.Millisecond
	if s, err := b.run(); err != nil || s.Succeeded != 1 || s.NetworkErrors != 1 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestARateLimitPausesTheFamily(t *testing.T) {
	var n atomic.Int64
	var refused, resumed time.Time
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		switch n.Add(1) {
		case 1:
			refused = time.Now()
			w.Header().Set("Retry-After", "1")
			reply(w, 429, errorBody("requests", "Rate limit reached"))
			return
		case 2:
			resumed = time.Now()
		}
		reply(w, 200, answer)
	})
	b := newBench(t, u, requests(30)...)
	b.MaxInFlight = 1
	s, err := b.run()
	if err != nil || s.Succeeded != 30 || s.Rejected429 != 1 {
		t.Errorf("%v, %+v", err, s)
	}
	if waited := resumed.Sub(refused); waited < 990*time.Millisecond {
		t.Errorf("the next request came after %v", waited)
	}
}

// "Request too large" for a request that the limit could hold has been seen where it merely didn't fit just then: it is
// a refusal like any other, however often it comes.
func TestARequestThatIsTooLargeForNowIsSentAgain(t *testing.T) {
	var n atomic.Int64
	u := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		if n.Add(1) <= 15 {
			w.Header().Set("Retry-After-Ms", "1")
			reply(w, 429, errorBody("rate_limit_exceeded", "Request too large for m on tokens per min (TPM): Limit 30000, Requested 100."))
			return
		}
		reply(w, 200, answer)
	})
	b := newBench(t, u, requests(1)...)
	b.GiveUp = time.Hour
	if s, err := b.run(); err != nil || s.Succeeded != 1 || s.Rejected429 != 15 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestURLsOfBaseAndLineAreJoined(t *testing.T) {
	for _, c := range []struct{ base, path, want string }{
		{"http://h/v1", "/v1/chat/completions", "http://h/v1/chat/completions"},
		{"http://h/v1/", "/v1/chat/completions", "http://h/v1/chat/completions"},
		{"http://h", "/v1/chat/completions", "http://h/v1/chat/completions"},
		{"http://h/", "/chat/completions", "http://h/chat/completions"},
		{"http://h/api/v1", "/v1/embeddings?a=b", "http://h/api/v1/embeddings?a=b"},
		{"http://h/openai", "/v1/embeddings", "http://h/openai/v1/embeddings"},
		{"http://h/v1?api-version=2", "/v1/embeddings", "http://h/v1/embeddings?api-version=2"},
		{"http://h/v10", "/v1/embeddings", "http://h/v10/v1/embeddings"},
		{"http://h/v1", "/v1/../x/embeddings", "http://h/v1/../x/embeddings"},
	} {
		u, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		r := &run{Options: Options{BaseURL: u}}
		if got := r.urlOf(c.path); got != c.want {
			t.Errorf("%s + %s = %s, want %s", c.base, c.path, got, c.want)
		}
	}
}
