package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/batchfile"
	"github.com/tokenthrottle/throttle/internal/provider"
)

// workBench is an input file and a provider for it.
type workBench struct {
	dir, in, out string
	api          *provider.Server
	args         []string
}

func newWorkBench(t *testing.T, lines int, cfg provider.Config, args ...string) *workBench {
	t.Helper()
	api, err := provider.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	dir := t.TempDir()
	b := &workBench{dir: dir, in: filepath.Join(dir, "in.jsonl"), out: filepath.Join(dir, "out.jsonl"), api: api}
	var text bytes.Buffer
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range lines {
		fmt.Fprintf(&text, `{"custom_id":"id-%d","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt-4.1-mini","max_tokens":%d,"messages":[{"role":"user","content":"%s %d"}]}}`+"\n",
			i, 50+rng.IntN(500), strings.Repeat("word ", 5+rng.IntN(150)), i)
	}
	if err := os.WriteFile(b.in, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	b.args = append([]string{"batch", b.in, b.out, "--base-url", api.URL + "/v1", "--json"}, args...)
	return b
}

// done counts the lines of the output.
func (b *workBench) done(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(b.out)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// until starts the command, and signals it when the output has so many lines. It returns the process's error.
func (b *workBench) until(t *testing.T, lines int, signal syscall.Signal) error {
	t.Helper()
	cmd := exec.Command(binary, b.args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(time.Minute)
	for b.done(t) < lines {
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself with %d of %d lines: %v\n%s", b.done(t), lines, err, stderr.String())
		case <-deadline:
			_ = cmd.Process.Kill()
			t.Fatalf("%d of %d lines after a minute\n%s", b.done(t), lines, stderr.String())
		case <-poll.C:
		}
	}
	if err := cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	return <-ended
}

// check reads the output and wants each custom_id once, answered.
func (b *workBench) check(t *testing.T, want int) {
	t.Helper()
	text, err := os.ReadFile(b.out)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var r batchfile.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		seen[r.CustomID]++
		if r.Failed() {
			t.Errorf("%s failed: %s", r.CustomID, line)
		}
	}
	for i := range want {
		if n := seen[fmt.Sprintf("id-%d", i)]; n != 1 {
			t.Errorf("id-%d is in the output %d times", i, n)
		}
	}
	if len(seen) != want {
		t.Errorf("%d custom_ids, want %d", len(seen), want)
	}
}

func TestBatchSurvivesKills(t *testing.T) {
	const lines, inFlight = 2000, 150
	b := newWorkBench(t, lines, provider.Config{
		Default: provider.Limits{RequestsPerMinute: 18_000, RequestBurst: 400, TokensPerMinute: 6_000_000},
		Latency: provider.Latency{Base: 30 * time.Millisecond, PerToken: 20 * time.Microsecond, Jitter: 0.5},
		Output:  provider.Output{Chunk: 1000},
		Faults: provider.Faults{RetryAfter: 100 * time.Millisecond, SlowBy: 500 * time.Millisecond, Probability: map[provider.Fault]float64{
			provider.FaultRateLimit: 0.01, provider.FaultInternal: 0.02, provider.FaultOverloaded: 0.02, provider.FaultSlow: 0.02, provider.FaultCut: 0.02,
		}},
	}, "--rpm", "18000", "--tpm", "6000000", "--burst", "0.02", "--max-in-flight", fmt.Sprint(inFlight))
	b.args = append(b.args, "--store", "bolt://"+filepath.ToSlash(filepath.Join(b.dir, "limits.db")))
	for _, at := range []int{300, 800, 1400} {
		if err := b.until(t, at, syscall.SIGKILL); err == nil {
			t.Fatalf("it was done before it could be killed at %d lines", at)
		}
	}
	got := execute(t, b.args...)
	var sum batchResult
	if err := json.Unmarshal([]byte(got.stdout), &sum); err != nil || got.code != 0 {
		t.Fatalf("%v, %+v", err, got)
	}
	if sum.Skipped < 1400 || sum.Skipped+sum.Succeeded != lines {
		t.Errorf("%+v", sum)
	}
	b.check(t, lines)
	stats := b.api.Stats()["gpt-4.1-mini"]
	for _, f := range []provider.Fault{"429", "500", "529", "slow", "cut"} {
		if stats.Faults[f] == 0 {
			t.Errorf("fault %s never came: the test tests nothing", f)
		}
	}
	// At most what was in flight when it was killed was done twice.
	if again := stats.Accepted - lines - stats.Faults["cut"]; again > 3*inFlight {
		t.Errorf("%d requests were accepted more than once; three times %d were in flight", again, inFlight)
	}
}

func TestBatchFinishesWhatIsInFlightWhenInterrupted(t *testing.T) {
	const lines = 400
	b := newWorkBench(t, lines, provider.Config{Latency: provider.Latency{Base: 100 * time.Millisecond}, Output: provider.Output{Chunk: 1000}},
		"--rpm=-1", "--tpm=-1", "--max-in-flight", "20")
	for _, at := range []int{40, 120} {
		err := b.until(t, at, syscall.SIGINT)
		if ended, ok := err.(*exec.ExitError); !ok || ended.ExitCode() != exitInterrupted {
			t.Errorf("after SIGINT at %d lines: %v", at, err)
		}
		accepted := b.api.Stats()["gpt-4.1-mini"].Accepted
		if done := b.done(t); int64(done) != accepted {
			t.Errorf("%d requests were sent and %d have a result", accepted, done)
		}
	}
	if got := execute(t, b.args...); got.code != 0 {
		t.Errorf("%+v", got)
	}
	b.check(t, lines)
	if again := execute(t, b.args...); again.code != 0 || b.api.Stats()["gpt-4.1-mini"].Accepted != lines {
		t.Errorf("started once more: %+v", again)
	}
}

func TestBatchExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  provider.Config
		add  string
		code int
	}{
		"all well":       {code: exitOK},
		"a bad line":     {add: "oops\n", code: exitIncomplete},
		"a failure":      {add: `{"custom_id":"x","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}`, code: exitIncomplete},
		"a wrong key":    {cfg: provider.Config{APIKey: "right"}, code: exitRefused},
		"an empty quota": {cfg: provider.Config{Faults: provider.Faults{Probability: map[provider.Fault]float64{provider.FaultQuota: 1}}}, code: exitRefused},
		"a down server":  {cfg: provider.Config{Faults: provider.Faults{Probability: map[provider.Fault]float64{provider.FaultUnavailable: 1}}}, code: exitFailed},
	} {
		b := newWorkBench(t, 5, c.cfg, "--give-up", "100ms", "--quiet")
		f, err := os.OpenFile(b.in, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(c.add); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		got := execute(t, b.args...)
		var sum batchResult
		if err := json.Unmarshal([]byte(got.stdout), &sum); err != nil || got.code != c.code {
			t.Errorf("%s: exit code %d, want %d; %v\n%+v", name, got.code, c.code, err, got)
		}
		if stopped := c.code == exitRefused || c.code == exitFailed; stopped != (sum.Stopped != nil) || stopped == (got.stderr == "") {
			t.Errorf("%s: %s%s", name, got.stdout, got.stderr)
		}
	}
}
