package openai

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// TestReportedPromptTokens compares counts with the prompt_tokens that OpenAI's API reported for the same request, as
// others published them; testdata/README.md names them. Every one is met to the token.
func TestReportedPromptTokens(t *testing.T) {
	f, err := os.Open("testdata/reported.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for ; lines.Scan(); n++ {
		var v struct {
			Tokens int
			Body   json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		e, err := Count(v.Body, Chat)
		if err != nil {
			t.Errorf("%v: %s", err, v.Body)
		}
		if e.Input != v.Tokens {
			t.Errorf("%d tokens counted, %d reported: %s", e.Input, v.Tokens, v.Body)
		}
	}
	if err := lines.Err(); err != nil || n < 45 {
		t.Errorf("read %d requests: %v", n, err)
	}
}

// TestSDKFixtures compares counts with the usage in the answers that the official SDK's tests recorded.
func TestSDKFixtures(t *testing.T) {
	f, err := os.Open("testdata/sdk.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for ; lines.Scan(); n++ {
		var v struct {
			From     string
			Endpoint Endpoint
			Tokens   int
			Body     json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		e, err := Count(v.Body, v.Endpoint)
		off := float64(e.Input-v.Tokens) / float64(v.Tokens)
		t.Logf("| %s | %d | %d | %+.0f %% |", v.From, e.Input, v.Tokens, 100*off) // the table in docs/openai.md
		if err != nil || off < 0 || off > 0.05 {
			t.Errorf("%s: %d counted, %d reported, %v", v.From, e.Input, v.Tokens, err)
		}
	}
	if err := lines.Err(); err != nil || n < 13 {
		t.Errorf("read %d requests: %v", n, err)
	}
}
