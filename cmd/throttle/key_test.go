package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/internal/provider"
)

// The key goes to the provider and nowhere else: not into what is printed, nor into any file, whether it is the right
// one, a wrong one, or the requests fail.
func TestBatchNeverPrintsTheKey(t *testing.T) {
	const right, wrong = "sk-right-1234567890", "sk-wrong-0987654321"
	api, err := provider.Start(provider.Config{APIKey: right, Faults: provider.Faults{
		Probability: map[provider.Fault]float64{provider.FaultCut: 0.1, provider.FaultMalformed: 0.1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	for _, key := range []string{right, wrong} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
		var lines strings.Builder
		for i := range 20 {
			fmt.Fprintf(&lines, `{"custom_id":"%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}}`+"\n", i)
		}
		lines.WriteString("not JSON\n")
		if err := os.WriteFile(in, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		p := &program{t.Context(), strings.NewReader(""), &stdout, &stderr, func(name string) string {
			if name == "OPENAI_API_KEY" {
				return key
			}
			return ""
		}}
		code := p.run([]string{"batch", in, out, "--base-url", api.URL + "/v1", "--rpm=-1", "--tpm=-1", "--json", "--max-attempts", "3"})
		if key == right && code != exitIncomplete && code != exitOK || key == wrong && code != exitRefused {
			t.Errorf("exit code %d\n%s", code, stderr.String())
		}
		said := stdout.String() + stderr.String()
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			said += string(text)
		}
		if strings.Contains(said, key) || strings.Contains(said, key[3:]) {
			t.Errorf("the key was written somewhere:\n%s", said)
		}
	}
}
