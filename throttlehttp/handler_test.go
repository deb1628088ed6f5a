package throttlehttp_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

func newLimiter(t *testing.T, d driver.Driver) *throttle.Limiter {
	t.Helper()
	l := throttle.New(d, throttle.Static(throttle.PerMinute("tokens", 6000)))
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// serve mounts a page below a path, as its users do.
func serve(t *testing.T, page *throttlehttp.Page) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/debug/throttle", page)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		page.Close()
		server.Close()
	})
	return server.URL + "/debug/throttle"
}

func get(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// stream is an open event stream.
type stream struct {
	body   io.Closer
	lines  *bufio.Scanner
	status int
}

func open(t *testing.T, url string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"?events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{res.Body, lines, res.StatusCode}
}

type message struct {
	Title    string
	Store    bool
	Interval int
	History  []struct {
		Family, Resource, Per string
		Points                [][3]float64
	}
	First    *snapshot
	Families []family
	Events   []struct{ Family, Text string }
}

type snapshot struct{ Families []family }

type family struct {
	Name, State string
	Quotas      []struct{ Level, Limit, Use float64 }
}

// next reads a message; false at the end of the stream.
func (s *stream) next(t *testing.T) (event string, m message, ok bool) {
	t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if name, found := strings.CutPrefix(line, "event: "); found {
			event = name
		}
		if data, found := strings.CutPrefix(line, "data: "); found {
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				t.Fatal(err)
			}
			return event, m, true
		}
	}
	return "", m, false
}

func TestPageIsOneDocumentUnderAStrictPolicy(t *testing.T) {
	url := serve(t, throttlehttp.Handler(newLimiter(t, memory.New()), nil))
	res, body := get(t, http.MethodGet, url)
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(body, "<title>throttle</title>") {
		t.Fatalf("status %d, %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy has no %q: %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("the policy is lax: %s", policy)
	}
	for _, element := range []string{"style", "script"} {
		list := regexp.MustCompile("(?s)<"+element+">(.*?)</"+element+">").FindAllStringSubmatch(body, -1)
		if len(list) != 1 {
			t.Fatalf("%d elements %s, want 1", len(list), element)
		}
		sum := sha256.Sum256([]byte(list[0][1]))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the %s in the page is not the one that the policy allows", element)
		}
	}
	if outside := regexp.MustCompile(`(src|href)\s*=\s*"(https?:|//)[^"]*"|url\(|@import|\son\w+\s*=`).FindString(strings.ReplaceAll(body, "http://www.w3.org/2000/svg", "")); outside != "" {
		t.Errorf("the page reaches outside, or has inline handlers: %s", outside)
	}
	for header, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
		"Cross-Origin-Resource-Policy": "same-origin", "Access-Control-Allow-Origin": "", "Set-Cookie": "",
	} {
		if got := res.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
}

func TestOnlyReadingIsAllowed(t *testing.T) {
	url := serve(t, throttlehttp.Handler(newLimiter(t, memory.New()), nil))
	for _, query := range []string{"", "?events", "?json"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, "PROPFIND"} {
			if res, _ := get(t, method, url+query); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %q: status %d, Allow %q", method, query, res.StatusCode, res.Header.Get("Allow"))
			}
		}
		if res, body := get(t, http.MethodHead, url+query); res.StatusCode != http.StatusOK || body != "" {
			t.Errorf("HEAD %q: status %d, body %q", query, res.StatusCode, body)
		}
	}
	for _, query := range []string{"?events", "?json"} {
		if res, _ := get(t, http.MethodGet, url+query, "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another site: status %d", query, res.StatusCode)
		}
	}
	if res, _ := get(t, http.MethodGet, url+"?json", "Sec-Fetch-Site", "same-origin"); res.StatusCode != http.StatusOK {
		t.Errorf("from the page itself: status %d", res.StatusCode)
	}
}

func TestStream(t *testing.T) {
	l := newLimiter(t, memory.New())
	url := serve(t, throttlehttp.Handler(l, &throttlehttp.Options{Title: "a host", Models: []string{"m", "n"}, Interval: 100 * time.Millisecond}))
	_, _ = l.TryAcquire(t.Context(), "m", throttle.Usage{"tokens": 7000})
	s := open(t, url)
	event, m, ok := s.next(t)
	if !ok || event != "hello" || m.Title != "a host" || m.Interval != 100 || m.First == nil || len(m.First.Families) != 2 || len(m.History) != 2 || len(m.History[0].Points) != 1 {
		t.Fatalf("%s %+v", event, m)
	}
	if len(m.Events) != 1 || m.Events[0].Family != "m" {
		t.Errorf("events %+v, want the refusal from before", m.Events)
	}
	if _, err := l.Acquire(t.Context(), "m", throttle.Usage{"tokens": 5000}); err != nil {
		t.Fatal(err)
	}
	for {
		event, m, ok = s.next(t)
		if !ok || event != "change" {
			t.Fatalf("%s %+v", event, m)
		}
		if q := m.Families[0].Quotas[0]; q.Level < 2000 {
			break
		}
	}
	if m.Families[1].State != "idle" {
		t.Errorf("n is %s", m.Families[1].State)
	}
	// One who comes later is given the history.
	late := open(t, url)
	if _, m, _ = late.next(t); len(m.History[0].Points) < 2 {
		t.Errorf("history %+v", m.History)
	}
}

func TestViewersAreBounded(t *testing.T) {
	url := serve(t, throttlehttp.Handler(newLimiter(t, memory.New()), &throttlehttp.Options{MaxViewers: 2, Interval: 100 * time.Millisecond}))
	a, b := open(t, url), open(t, url)
	a.next(t)
	b.next(t)
	if c := open(t, url); c.status != http.StatusServiceUnavailable {
		t.Errorf("a third viewer of two: status %d", c.status)
	}
	if res, body := get(t, http.MethodGet, url+"?json"); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("and for JSON: status %d, %s", res.StatusCode, body)
	}
	_ = a.body.Close()
	for range 100 { // the server notices at its next write
		if res, _ := get(t, http.MethodGet, url+"?json"); res.StatusCode == http.StatusOK {
			return
		}
		b.next(t)
	}
	t.Error("the place of one who left stays taken")
}

func TestCloseEndsTheStreams(t *testing.T) {
	page := throttlehttp.Handler(newLimiter(t, memory.New()), nil)
	server := httptest.NewUnstartedServer(page)
	server.Config.RegisterOnShutdown(page.Close)
	server.Start()
	s := open(t, server.URL)
	s.next(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for {
		if _, _, ok := s.next(t); !ok {
			break
		}
	}
	server.Close()
}

// unlisted hides that a driver can list its keys.
type unlisted struct{ driver.Driver }

func TestStoreHandler(t *testing.T) {
	d := memory.New()
	if _, err := throttlehttp.StoreHandler(unlisted{d}, nil); err == nil {
		t.Error("a store that can't list, and no names")
	}
	page, err := throttlehttp.StoreHandler(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newLimiter(t, d).Acquire(t.Context(), "m", throttle.Usage{"tokens": 3000}); err != nil {
		t.Fatal(err)
	}
	res, body := get(t, http.MethodGet, serve(t, page)+"?json")
	var m message
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m.Families) != 1 || m.Families[0].State != "busy" || m.Families[0].Quotas[0].Level > 3500 {
		t.Errorf("status %d, %v, %s", res.StatusCode, err, body)
	}
}

// noFlush is a ResponseWriter that can't stream.
type noFlush struct{ header http.Header }

func (w noFlush) Header() http.Header         { return w.header }
func (w noFlush) Write(p []byte) (int, error) { return len(p), nil }
func (w noFlush) WriteHeader(int)             {}

func TestAWriterThatCannotStreamIsGivenUp(t *testing.T) {
	page := throttlehttp.Handler(newLimiter(t, memory.New()), nil)
	defer page.Close()
	done := make(chan bool)
	go func() {
		page.ServeHTTP(noFlush{http.Header{}}, httptest.NewRequest(http.MethodGet, "/?events", nil))
		done <- true
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("the stream goes on into nothing")
	}
}

func ExampleHandler() {
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	page := throttlehttp.Handler(lim, &throttlehttp.Options{Models: []string{"gpt-4.1"}})
	mux := http.NewServeMux()
	mux.Handle("/debug/throttle", page)
	server := &http.Server{Handler: mux}
	server.RegisterOnShutdown(page.Close) // else Shutdown waits for those who look

	w := httptest.NewRecorder()
	server.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/throttle", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output:
	// 200 text/html; charset=utf-8
}
