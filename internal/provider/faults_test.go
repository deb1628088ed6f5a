package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestFaultsByHeader(t *testing.T) {
	const anthropicBody = `{"model":"gpt-4o","max_tokens":10,"messages":[{"role":"user","content":"hello"}]}`
	for _, tt := range []struct {
		path, body string
		fault      Fault
		status     int
		contains   string
		retryAfter string
	}{
		{"/v1/chat/completions", chatBody("hello", ""), FaultRateLimit, 429, `"code":"rate_limit_exceeded"`, "1"},
		{"/v1/chat/completions", chatBody("hello", ""), FaultQuota, 429, `"type":"insufficient_quota","param":null,"code":"insufficient_quota"`, ""},
		{"/v1/chat/completions", chatBody("hello", ""), FaultInternal, 500, `"type":"server_error"`, ""},
		{"/v1/chat/completions", chatBody("hello", ""), FaultUnavailable, 503, `"type":"server_error"`, ""},
		{"/v1/chat/completions", chatBody("hello", ""), FaultOverloaded, 529, `"type":"server_error"`, ""},
		{"/v1/messages", anthropicBody, FaultRateLimit, 429, `"type":"rate_limit_error"`, "1"},
		{"/v1/messages", anthropicBody, FaultQuota, 400, `"type":"invalid_request_error"`, ""},
		{"/v1/messages", anthropicBody, FaultInternal, 500, `"type":"api_error"`, ""},
		{"/v1/messages", anthropicBody, FaultOverloaded, 529, `"type":"overloaded_error"`, ""},
	} {
		t.Run(tt.path+" "+string(tt.fault), func(t *testing.T) {
			p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 5}})
			res := call(t, p, tt.path, tt.body, SimulateHeader, string(tt.fault))
			wantStatus(t, res, tt.status)
			wantHeader(t, res, "retry-after", tt.retryAfter)
			if body := text(t, res); !strings.Contains(body, tt.contains) {
				t.Errorf("body %s, want %s in it", body, tt.contains)
			}
			s := p.Stats()["gpt-4o"]
			if s.Faults[tt.fault] != 1 || s.Accepted != 0 || s.Rejected() != 0 || s.Charged != (Work{}) {
				t.Errorf("stats %+v, want one fault and nothing charged", s)
			}
		})
	}
	res := call(t, newProvider(t, Config{}), "/v1/chat/completions", chatBody("hello", ""), SimulateHeader, "418")
	wantStatus(t, res, http.StatusBadRequest)
}

func TestMalformedAnswersAreNotJSON(t *testing.T) {
	for _, stream := range []bool{false, true} {
		body := chatBody("hello", fmt.Sprintf(`,"stream":%v`, stream))
		res := call(t, newProvider(t, Config{}), "/v1/chat/completions", body, SimulateHeader, "malformed")
		wantStatus(t, res, http.StatusOK)
		answer := text(t, res)
		if stream {
			answer = readEvents(t, answer)[1].data
		}
		if json.Valid([]byte(answer)) {
			t.Errorf("stream %v: %s is valid JSON", stream, answer)
		}
	}
}

func TestSlowAnswersTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(t, Config{Faults: Faults{SlowBy: 7 * time.Second}})
		start := time.Now()
		wantStatus(t, call(t, p, "/v1/chat/completions", chatBody("hello", ""), SimulateHeader, "slow"), http.StatusOK)
		if got := time.Since(start); got != 7*time.Second {
			t.Errorf("took %v, want 7s", got)
		}
	})
}

func TestCutAnswersEndInTheMiddleAndCostWhatWasGenerated(t *testing.T) {
	s := startServer(t, Config{Default: Limits{TokensPerMinute: 1e6}})
	client := newClient(t, s)
	for _, stream := range []bool{false, true} {
		model := fmt.Sprintf("m-%v", stream)
		body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}],"max_tokens":1000,"stream":%v}`, model, stream)
		req, err := http.NewRequest(http.MethodPost, s.URL+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(SimulateHeader, "cut")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) == 0 {
			t.Errorf("stream %v: read %d bytes and error %v, want some bytes and an unexpected EOF", stream, len(got), err)
		}
		stats := s.Stats()[model]
		whole := s.compose(hashOfRequest([]byte(body)), 1000, 1).tokens
		prompt := int64(3 + 3 + 1 + 1)
		lo, hi := prompt+whole, prompt+whole // the complete answer was generated, it was lost on the way
		if stream {
			lo, hi = prompt+whole/2, prompt+whole/2+defaultChunk
		}
		if used := stats.Used.Tokens; used < lo || used > hi || stats.InFlight != 0 {
			t.Errorf("stream %v: used %d of a whole of %d+%d, want %d to %d; %+v", stream, used, prompt, whole, lo, hi, stats)
		}
	}
}

func TestRandomFaultsFollowFromTheSeedAndNotFromTheOrder(t *testing.T) {
	cfg := Config{Seed: 7, Faults: Faults{Probability: map[Fault]float64{FaultInternal: 0.2, FaultOverloaded: 0.1}}}
	const n = 1000
	run := func(backwards bool) (statuses [n]int) {
		p := newProvider(t, cfg)
		for i := range n {
			if backwards {
				i = n - 1 - i
			}
			statuses[i] = call(t, p, "/v1/chat/completions", chatBody(fmt.Sprint(i), `,"max_tokens":1`)).StatusCode
		}
		return statuses
	}
	forth, back := run(false), run(true)
	if forth != back {
		t.Error("the faults depend on the order of the requests")
	}
	count := map[int]int{}
	for _, status := range forth {
		count[status]++
	}
	// Five standard deviations: 63 for the first, 47 for the second.
	if c := count[500]; c < 137 || c > 263 {
		t.Errorf("%d of %d answers are 500, want about 200", c, n)
	}
	if c := count[529]; c < 53 || c > 147 {
		t.Errorf("%d of %d answers are 529, want about 100", c, n)
	}
	// The same request again meets its luck again, not its fate.
	p := newProvider(t, cfg)
	for i := 0; ; i++ {
		if i == 100 {
			t.Fatal("a retried request never succeeded")
		}
		if call(t, p, "/v1/chat/completions", chatBody("same", `,"max_tokens":1`)).StatusCode == http.StatusOK {
			break
		}
	}
	res := call(t, newProvider(t, Config{Faults: Faults{Probability: map[Fault]float64{FaultInternal: 1}}}),
		"/v1/chat/completions", chatBody("hello", ""), SimulateHeader, "none")
	wantStatus(t, res, http.StatusOK)
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Default: Limits{TokensPerMinute: -1}}, "Limits.TokensPerMinute is -1"},
		{Config{Models: map[string]Limits{"m": {RequestBurst: -2}}}, `model "m": provider: Limits.RequestBurst is -2`},
		{Config{Minute: -time.Second}, "must not be negative"},
		{Config{Latency: Latency{Jitter: 2}}, "Latency.Jitter is 2"},
		{Config{Output: Output{Min: 0.5, Max: 0.4}}, "0 ≤ Min ≤ Max ≤ 1"},
		{Config{Faults: Faults{Probability: map[Fault]float64{"418": 0.1}}}, `unknown fault "418"`},
		{Config{Faults: Faults{Probability: map[Fault]float64{FaultSlow: -0.1}}}, `"slow" is -0.1`},
		{Config{Faults: Faults{Probability: map[Fault]float64{FaultSlow: 0.6, FaultCut: 0.6}}}, "add up to 1.2"},
	} {
		if _, err := New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q in it", tt.cfg, err, tt.want)
		}
	}
	if _, err := Start(Config{Minute: -1}); err == nil {
		t.Error("Start took a configuration that New refuses")
	}
}
