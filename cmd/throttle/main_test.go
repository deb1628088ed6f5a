package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/openai"
)

var update = flag.Bool("update", false, "write the golden files anew")

// binary is the command, built once: processes are killed in these tests, and what they print is all there is.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "throttle-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "throttle")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build: %v\n%s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// outcome is how a process ended.
type outcome struct {
	code           int
	stdout, stderr string
}

// execute runs the binary to its end.
func execute(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "COLUMNS=80", "OPENAI_API_KEY=")
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func TestHelp(t *testing.T) {
	for name, args := range map[string][]string{
		"throttle": {"--help"}, "demo": {"demo", "--help"}, "batch": {"batch", "--help"}, "status": {"status", "-h"}, "top": {"top", "-h"}, "serve": {"serve", "-h"}, "provider": {"provider", "-h"},
	} {
		got := execute(t, args...)
		if got.code != 0 || got.stderr != "" {
			t.Errorf("%s: exit code %d, standard error %q", name, got.code, got.stderr)
		}
		golden := filepath.Join("testdata", "help", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got.stdout), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.stdout != string(want) {
			t.Errorf("%s: the help is not that of %s (go test ./cmd/throttle -run TestHelp -update):\n%s", name, golden, got.stdout)
		}
	}
	if bare, help := execute(t), execute(t, "--help"); bare != help {
		t.Errorf("without a command: %+v", bare)
	}
}

func TestVersion(t *testing.T) {
	got := execute(t, "--version")
	if got.code != 0 || !strings.HasPrefix(got.stdout, "throttle ") || !strings.Contains(got.stdout, "go1.") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.jsonl")
	notes := filepath.Join(dir, "notes.txt")
	for path, text := range map[string]string{in: "", notes: "dear diary\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out.jsonl")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"unexpected argument nope", []string{"nope"}},
		{"unknown flag --nope", []string{"demo", "--nope"}},
		{"expected \"<in> <out>\"", []string{"batch"}},
		{"missing flags: --store", []string{"status"}},
		{"unknown scheme \"mysql\"", []string{"demo", "--store", "mysql://x"}},
		{"unknown scheme \"mysql\"", []string{"status", "--store", "mysql://x"}},
		{"in the process that uses it", []string{"status", "--store", "memory://"}},
		{"in the process that uses it", []string{"status", "--store", "memory"}},
		{"--workers needs a store", []string{"demo", "--workers", "2", "--store", "memory"}},
		{"no such file", []string{"status", "--store", "bolt://" + dir + "/absent.db"}},
		{"write bolt:///rel/limits.db", []string{"status", "--store", "bolt://rel/limits.db"}},
		{"Try \"throttle batch --help\"", []string{"batch"}},
		{"Try \"throttle status --help\"", []string{"status", "--nope"}},
		{"Try \"throttle --help\"", []string{"nope"}},
		{"--workers needs a store", []string{"demo", "--workers", "2"}},
		{"--workers needs a store", []string{"demo", "--workers", "2", "--store", "bolt://" + dir + "/x.db"}},
		{"--workers is -1", []string{"demo", "--workers=-1"}},
		{"two demonstrations", []string{"demo", "--workers", "2", "--flows", "--store", "redis://127.0.0.1:1"}},
		{"three files", []string{"batch", in, in}},
		{"three files", []string{"batch", in, out, "--errors", in}},
		{"OUT must be a file", []string{"batch", in, "-"}},
		{"--base-url api.openai.com: want http", []string{"batch", in, out, "--base-url", "api.openai.com"}},
		{"--base-url ftp://u:xxxxx@h: want http", []string{"batch", in, out, "--base-url", "ftp://u:secret@h"}},
		{"--store limits.db: want a URL", []string{"status", "--store", "limits.db"}},
		{"--store limits.db: want a URL", []string{"batch", in, out, "--store", "limits.db"}},
		{"--rpm is -2", []string{"batch", in, out, "--rpm=-2"}},
		{"--burst is 2", []string{"batch", in, out, "--burst", "2"}},
		{"no such file", []string{"batch", in + "x", out}},
		{"not a result", []string{"batch", in, notes}},
		{"--rpm is -3: want 0 or more", []string{"provider", "--rpm", "-3"}},
		{"--tpd is -1: want 0 or more", []string{"provider", "--tpd=-1"}},
		{"--minute is 0s: want more than 0", []string{"provider", "--minute", "0s"}},
		{"unknown fault", []string{"provider", "--fault", "coffee=0.5"}},
		{"Jitter", []string{"provider", "--jitter", "2"}},
		{"listen", []string{"provider", "--listen", "256.0.0.1:1"}},
	} {
		got := execute(t, c.args...)
		if got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, c.want) || !strings.HasPrefix(got.stderr, "throttle: ") {
			t.Errorf("%q: exit code %d, standard output %q, standard error %q; want code 2 and %q", c.args, got.code, got.stdout, got.stderr, c.want)
		}
	}
	if text, err := os.ReadFile(notes); err != nil || string(text) != "dear diary\n" {
		t.Errorf("the notes became %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "absent.db")); err == nil {
		t.Error("status made a file")
	}
}

func TestStatusShowsLevelsAndBlocks(t *testing.T) {
	url := "bolt://" + filepath.ToSlash(filepath.Join(t.TempDir(), "limits.db"))
	if _, err := os.Stat(filepath.FromSlash(strings.TrimPrefix(url, "bolt://"))); err == nil {
		t.Fatal("the file is there already")
	}
	d, err := driver.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	lim := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 1_000_000), throttle.PerDay("requests", 1000)))
	ctx := t.Context()
	for _, model := range []string{"used", "paused", "evil\x1b[2J"} {
		if err := lim.Record(ctx, model, throttle.Usage{"requests": 1, "tokens": 400_000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		lim.Pause(ctx, "paused", time.Hour), lim.SetLimit(ctx, "used", throttle.PerDay("requests", 500)),
		lim.Record(ctx, "paused", throttle.Usage{"tokens": 700_000}), lim.Close(), d.Close(),
	); err != nil {
		t.Fatal(err)
	}
	got := execute(t, "status", "--store", url)
	if got.code != 0 || got.stderr != "" || strings.ContainsRune(got.stdout, '\x1b') {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"used", "requests/day", "500*", "set at run time", "600k", "paused for 59m", "-100k", `evil\x1b[2J`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	var all struct {
		Families []struct {
			Family      string
			PausedUntil *time.Time `json:"paused_until"`
			Buckets     []struct {
				Resource   string
				Per        float64 `json:"per_s"`
				Limit      float64
				Level      float64
				Overridden bool
			}
		}
	}
	asJSON := execute(t, "status", "--store", url, "--json", "used", "paused", "unknown")
	if err := json.Unmarshal([]byte(asJSON.stdout), &all); err != nil || asJSON.code != 0 || len(all.Families) != 2 {
		t.Fatalf("%v, %+v", err, asJSON)
	}
	paused, used := all.Families[0], all.Families[1]
	if paused.PausedUntil == nil || used.PausedUntil != nil || used.Buckets[0].Limit != 500 || !used.Buckets[0].Overridden ||
		used.Buckets[1].Per != 86400 || used.Buckets[1].Level < 600_000 || paused.Buckets[1].Level > 0 {
		t.Errorf("%s", asJSON.stdout)
	}
}

func TestStatusSaysWhatItDoesNotKnow(t *testing.T) {
	url := "bolt://" + filepath.ToSlash(filepath.Join(t.TempDir(), "limits.db"))
	d, err := driver.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	lim := openai.NewLimiter(d, openai.Limits{RPD: 1000}) // a minute's limits are to be learned
	if err := errors.Join(lim.Record(t.Context(), "gpt-4.1", throttle.Usage{"requests": 5, "tokens": 100}), lim.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	got := execute(t, "status", "--store", url, "gpt-4.1", "nope")
	for _, want := range []string{"gpt-4.1 ", "unknown", "975", "nope has no state"} { // a day's burst is 980
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
	if strings.Contains(got.stdout, "1T") || strings.Contains(got.stdout, "No family") || got.code != 0 || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}

// background starts the binary and returns it with its standard output.
func background(t *testing.T, args ...string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, out
}

func TestProviderServesUntilItIsInterrupted(t *testing.T) {
	cmd, out := background(t, "provider", "--rpm", "1", "--latency", "0s")
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 429} {
		resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("request %d: status %d, want %d", i+1, resp.StatusCode, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// The floors that the demonstration is there to show, as a newcomer runs it.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("the demonstration takes a minute: not with -short")
	}
	begun := time.Now()
	got := execute(t, "demo", "--json")
	took := time.Since(begun)
	var out struct {
		Ways []struct {
			Name           string
			Requests       int64
			Rejected429    int64    `json:"rejected_429"`
			Elapsed        *float64 `json:"elapsed_s"`
			Ideal          *float64 `json:"ideal_s"`
			Share          float64  `json:"share_of_ideal"`
			TokensReserved int64    `json:"tokens_reserved"`
			TokensUsed     int64    `json:"tokens_used"`
		}
	}
	dec := json.NewDecoder(strings.NewReader(got.stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&out); err != nil || got.code != 0 || len(out.Ways) != 3 {
		t.Fatalf("%v, %+v", err, got)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("more than one object on standard output: %s", got.stdout)
	}
	none, kept, full := out.Ways[0], out.Ways[1], out.Ways[2]
	for _, w := range out.Ways {
		if w.Elapsed == nil || w.Ideal == nil || w.Requests < 150 || w.Requests != none.Requests || w.TokensUsed != none.TokensUsed || w.TokensReserved <= w.TokensUsed {
			t.Errorf("%s is not the same work: %+v", w.Name, w)
		}
	}
	if none.Name != "no-limiter" || kept.Name != "no-refund" || full.Name != "throttle" {
		t.Errorf("ways %s, %s, %s", none.Name, kept.Name, full.Name)
	}
	if full.Rejected429 != 0 || full.Share < 0.95 {
		t.Errorf("throttle: %d × 429, share of the ideal %.3f; want 0 and at least 0.95", full.Rejected429, full.Share)
	}
	if *kept.Elapsed < 3**full.Elapsed && kept.Share >= 0.5 {
		t.Errorf("no refunds: %.1f s, share %.2f; throttle %.1f s: want three times slower, or less than half", *kept.Elapsed, kept.Share, *full.Elapsed)
	}
	if none.Rejected429 < 50 {
		t.Errorf("no limiter: %d × 429, want at least 50", none.Rejected429)
	}
	if sum := *none.Elapsed + *kept.Elapsed + *full.Elapsed; sum > 60 {
		t.Errorf("the three ways took %.0f s, and are to take less than a minute", sum)
	}
	t.Logf("throttle %.3f of the ideal; no refunds %.3f; no limiter %.3f with %d × 429; %v in all", full.Share, kept.Share, none.Share, none.Rejected429, took)
}
