package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func startServer(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func newClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	c := s.Client()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// post sends body and returns status and answer.
func post(client *http.Client, url, body string) (int, string, error) {
	res, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(answer), err
}

func TestAThousandConnectionsAtOnce(t *testing.T) {
	const n = 1000
	// Nobody is answered before everybody is there.
	s := startServer(t, Config{
		Latency: Latency{Base: 200 * time.Millisecond},
		Default: Limits{RequestsPerMinute: n / 2, TokensPerMinute: 1e9},
	})
	client := newClient(t, s)
	var ok, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			status, answer, err := post(client, s.URL+"/v1/chat/completions", chatBody(fmt.Sprint(i), `,"max_tokens":10`))
			switch {
			case err != nil:
				t.Error(err)
			case status == http.StatusOK:
				ok.Add(1)
			case status == http.StatusTooManyRequests:
				refused.Add(1)
			default:
				t.Errorf("status %d: %s", status, answer)
			}
		})
	}
	wg.Wait()
	stats := s.Stats()["gpt-4o"]
	if got := ok.Load(); got != stats.Accepted || got < n/2 || got+refused.Load() != n {
		t.Errorf("%d answered, %d refused, stats %+v", got, refused.Load(), stats)
	}
	if w := stats.Windows["requests/minute"]; w.Violations != 0 || w.PeakMinute != stats.Accepted {
		t.Errorf("window %+v, want no violations and a peak of %d", w, stats.Accepted)
	}
	if stats.DistinctBodies != int(stats.Accepted) || stats.DistinctRequestIDs != int(stats.Accepted) {
		t.Errorf("%d bodies and %d ids in %d accepted requests", stats.DistinctBodies, stats.DistinctRequestIDs, stats.Accepted)
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	s, err := Start(Config{Latency: Latency{Base: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	failed := make(chan error, 1)
	go func() {
		_, _, err := post(client, s.URL+"/v1/chat/completions", chatBody("hello", ""))
		failed <- err
	}()
	// A connection that never says anything must not hold Close up either.
	silent, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for s.Stats()["gpt-4o"].InFlight == 0 {
		runtime.Gosched()
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
	if took := time.Since(start); took > grace+3*time.Second {
		t.Errorf("close took %v, the grace is %v", took, grace)
	}
	if err := <-failed; err == nil {
		t.Error("the request that was cut off reports no error")
	}
	if stats := s.Stats()["gpt-4o"]; stats.InFlight != 0 || stats.Canceled != 1 {
		t.Errorf("stats %+v, want nothing in flight and one canceled", stats)
	}
	client.CloseIdleConnections()
	// A goroutine that has just said its connection is closed may still be on its way out.
	for deadline := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		leaked := serving()
		if leaked == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still running after Close:\n%s", leaked)
		}
	}
}

// serving is the stack of a goroutine that serves, empty when there is none. No test here runs beside another.
func serving() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, f := range []string{"provider.(*Provider).ServeHTTP", "http.(*Server).Serve", "http.(*conn).serve("} {
			if strings.Contains(stack, f) {
				return stack
			}
		}
	}
	return ""
}

func TestTLSSpeaksHTTP2(t *testing.T) {
	s, err := StartTLS(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client := newClient(t, s)
	res, err := client.Post(s.URL+"/v1/chat/completions", "application/json",
		strings.NewReader(chatBody("hello", `,"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 {
		t.Errorf("protocol %s, want HTTP/2", res.Proto)
	}
	if events := readEvents(t, text(t, res)); events[len(events)-1].data != "[DONE]" {
		t.Errorf("the stream ends with %+v", events[len(events)-1])
	}
}

func TestAClientThatLeavesPaysForWhatWasGenerated(t *testing.T) {
	s := startServer(t, Config{Latency: Latency{PerToken: 5 * time.Millisecond}, Default: Limits{TokensPerMinute: 1e6}})
	client := newClient(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	body := chatBody("hello", `,"stream":true,"max_tokens":100000`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	var stats Stats
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if stats = s.Stats()["gpt-4o"]; stats.InFlight == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the request is in flight ten seconds after its client left")
		}
	}
	if stats.Canceled != 1 || stats.Used.Tokens < 20 || stats.Used.Tokens > 4000 {
		t.Errorf("stats %+v, want one canceled that used a small part of %d tokens", stats, stats.Charged.Tokens)
	}
}

func TestStatsAreServedAsJSON(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 3, TokensPerMinute: 10_000}})
	for range 5 {
		call(t, p, "/v1/chat/completions", chatBody("hello", `,"max_tokens":100`))
	}
	res := call(t, p, "/debug/stats", "")
	var got struct{ Models map[string]Stats }
	decode(t, res, &got)
	want, err := json.Marshal(p.Stats())
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got.Models)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(want) {
		t.Errorf("served %s, want %s", again, want)
	}
	if s := got.Models["gpt-4o"]; s.Accepted != 3 || s.Rejected429["requests/minute"] != 2 {
		t.Errorf("served %+v, want 3 accepted and 2 refused", s)
	}
}

func TestModelsAndUnknownPaths(t *testing.T) {
	p := newProvider(t, Config{Models: map[string]Limits{"b": {}, "a": {}}, APIKey: "sk-1"})
	var list struct {
		Object string
		Data   []struct {
			ID, Object string
			OwnedBy    string `json:"owned_by"`
		}
	}
	decode(t, call(t, p, "/v1/models", ""), &list)
	if list.Object != "list" || len(list.Data) != 2 || list.Data[0].ID != "a" || list.Data[1].Object != "model" {
		t.Errorf("models %+v, want a and b", list)
	}
	wantStatus(t, call(t, p, "/v1/nowhere", "{}"), http.StatusNotFound)
	wantStatus(t, call(t, p, "/v1/chat/completions", chatBody("x", "")), http.StatusUnauthorized)
	wantStatus(t, call(t, p, "/v1/chat/completions", chatBody("x", ""), "Authorization", "Bearer sk-1"), http.StatusOK)
	wantStatus(t, call(t, p, "/v1/messages", `{"model":"a","max_tokens":1,"messages":[{"role":"user","content":"x"}]}`,
		"X-Api-Key", "sk-1"), http.StatusOK)
}
