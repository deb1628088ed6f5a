package provider

import (
	"net/http"
	"strings"
	"testing"
)

func TestChatChargesTheEstimateAndCorrectsItToTheUsage(t *testing.T) {
	p := newProvider(t, Config{Default: Limits{RequestsPerMinute: 10, TokensPerMinute: 1000}})
	res := call(t, p, "/v1/chat/completions", chatBody("say something", `,"max_tokens":100`))
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", res.StatusCode, text(t, res))
	}
	var answer struct {
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Total      int64 `json:"total_tokens"`
		}
		Choices []struct{ Message struct{ Content string } }
	}
	decode(t, res, &answer)
	// 3 for the reply, 3 for the message, 1 for its role, 13 bytes of text are 4.
	if answer.Usage.Prompt != 11 {
		t.Errorf("prompt tokens %d, want 11", answer.Usage.Prompt)
	}
	if c := answer.Usage.Completion; c < 5 || c > 40 {
		t.Errorf("completion tokens %d, want 5 to 40 %% of max_tokens", c)
	}
	if words := len(strings.Fields(answer.Choices[0].Message.Content)); int64(words) != answer.Usage.Completion {
		t.Errorf("answer has %d words, want one a completion token (%d)", words, answer.Usage.Completion)
	}
	if got := res.Header.Get("x-ratelimit-remaining-tokens"); got != "889" {
		t.Errorf("remaining tokens %q, want 1000 − 11 − 100", got)
	}
	s := p.Stats()["gpt-4o"]
	if s.Charged.Tokens != 111 || s.Used.Tokens != answer.Usage.Total || s.InFlight != 0 {
		t.Errorf("stats %+v, want 111 charged, %d used, none in flight", s, answer.Usage.Total)
	}
	views := p.account("gpt-4o").views(s.LastAccept)
	if got, want := views[tokensMinute].remaining, float64(1000-answer.Usage.Total); got < want {
		t.Errorf("after the answer %v tokens remain, want at least %v", got, want)
	}
}
