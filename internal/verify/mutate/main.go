// Mutate breaks the code on purpose, one small change at a time, and sees whether the tests notice: a change that
// survives them is a rule that nobody checks. It changes nothing on disk; the go command is given each mutant as an
// overlay.
//
//	go run ./internal/verify/mutate [-n 120] [-seed 1] [-only bucket] [-json]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// target is code to break, and the tests that are to notice, quickest first.
type target struct {
	name  string
	files []string // globs, from the module's root
	part  float64  // of all mutants
	tests [][]string
}

var targets = []target{
	{"bucket", []string{"bucket/apply.go", "bucket/refill.go", "bucket/state.go", "bucket/replay.go", "bucket/valid.go", "bucket/short.go"}, 0.25,
		[][]string{{"./bucket"}, {"./internal/verify/bucket"}}},
	{"line", []string{"bucket/line.go", "bucket/tags.go"}, 0.2, [][]string{{"./bucket"}, {"./internal/verify/bucket"}}},
	{"limiter", []string{"lane.go", "send.go", "flush.go", "acquire.go", "reservation.go", "family.go", "usage.go"}, 0.2, [][]string{{"-short", "."}, {"."}}},
	{"memory", []string{"driver/memory/*.go"}, 0.05, [][]string{{"./driver/memory", "./conformance"}}},
	{"bolt", []string{"driver/bolt/apply.go", "driver/bolt/sweep.go", "driver/bolt/record.go"}, 0.08, [][]string{{"-short", "./driver/bolt"}, {"./driver/bolt"}}},
	{"script", []string{"internal/redisscript/lua/*.lua"}, 0.12, [][]string{{"./internal/verify/redis", "-run", "Vector|Differential|Script|Random"}}},
	{"redis", []string{"driver/redis/attempt.go", "driver/redis/job.go"}, 0.05, [][]string{{"./internal/verify/redis"}}},
	{"postgres", []string{"driver/postgres/apply.go", "driver/postgres/work.go"}, 0.05, [][]string{{"./internal/verify/postgres"}}},
}

// Verdict is what became of a mutant.
type Verdict struct {
	Target  string `json:"target"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Change  string `json:"change"`
	Killed  bool   `json:"killed"`
	By      string `json:"by,omitempty"` // the first test that failed, or "build"
	Seconds float64
}

// testTimeout ends tests that a mutant makes wait for ever: that counts as noticed.
const testTimeout = 90 * time.Second

func main() {
	n := flag.Int("n", 120, "how many mutants")
	seed := flag.Uint64("seed", 1, "which ones")
	only := flag.String("only", "", "one target")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	rng := rand.New(rand.NewPCG(*seed, 0))
	var verdicts []Verdict
	for _, t := range targets {
		if *only != "" && t.name != *only {
			continue
		}
		count := int(float64(*n)*t.part + 0.5)
		mutants, err := mutantsOf(t)
		if err != nil {
			fmt.Fprintln(os.Stderr, "mutate:", err)
			os.Exit(2)
		}
		rng.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
		for _, m := range mutants {
			if count == 0 {
				break
			}
			v, built := try(t, m)
			if !built {
				continue // the compiler noticed: that proves nothing of the tests
			}
			count--
			verdicts = append(verdicts, v)
			fate := "SURVIVED"
			if v.Killed {
				fate = "killed by " + v.By
			}
			fmt.Fprintf(os.Stderr, "%-8s %s:%d: %s: %s (%.0f s)\n", v.Target, v.File, v.Line, v.Change, fate, v.Seconds)
		}
	}
	report(verdicts, *asJSON)
}

func report(verdicts []Verdict, asJSON bool) {
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		_ = e.Encode(verdicts) // stdout: nobody is left to tell
		return
	}
	killed := map[string]int{}
	all := map[string]int{}
	for _, v := range verdicts {
		all[v.Target]++
		all["all"]++
		if v.Killed {
			killed[v.Target]++
			killed["all"]++
		}
	}
	for _, t := range append(targets, target{name: "all"}) {
		if all[t.name] > 0 {
			fmt.Printf("%-9s %3d of %3d killed (%.0f %%)\n", t.name, killed[t.name], all[t.name], 100*float64(killed[t.name])/float64(all[t.name]))
		}
	}
	for _, v := range verdicts {
		if !v.Killed {
			fmt.Printf("survived: %s:%d: %s\n", v.File, v.Line, v.Change)
		}
	}
}

// try runs the tests on a mutant; built is false if it doesn't compile.
func try(t target, m mutant) (v Verdict, built bool) {
	v = Verdict{Target: t.name, File: m.file, Line: m.line, Change: m.change}
	dir, err := os.MkdirTemp("", "throttle-mutant-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	defer os.RemoveAll(dir)
	path, err := filepath.Abs(m.file)
	if err != nil {
		return v, false
	}
	mutated := filepath.Join(dir, filepath.Base(m.file))
	overlay := filepath.Join(dir, "overlay.json")
	text, _ := json.Marshal(map[string]map[string]string{"Replace": {path: mutated}})
	if os.WriteFile(mutated, []byte(m.text), 0o600) != nil || os.WriteFile(overlay, text, 0o600) != nil {
		return v, false
	}
	begin := time.Now()
	if strings.HasSuffix(m.file, ".go") {
		if exec.Command("go", "build", "-overlay", overlay, "./"+filepath.Dir(m.file)).Run() != nil {
			return v, false
		}
	}
	for _, args := range t.tests {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-overlay", overlay, "-failfast", "-timeout", "60s"}, args...)...)
		cmd.WaitDelay = 5 * time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			v.Killed, v.By = true, firstFailure(string(out))
			break
		}
	}
	v.Seconds = time.Since(begin).Seconds()
	return v, true
}

func firstFailure(out string) string {
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			return strings.Fields(name)[0]
		}
	}
	if strings.Contains(out, "panic: test timed out") {
		return "a test that waits for ever"
	}
	return "a crash"
}
