package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

// Verdict is what became of a mutant.
type Verdict struct {
	Place   string `json:"place"`
	File    string `json:"file"`
	Where   string `json:"where"` // the file, and the function in it
	Line    int    `json:"line"`
	Change  string `json:"change"`
	Killed  bool   `json:"killed"`
	By      string `json:"by,omitempty"` // the first test that failed
	Seconds float64
}

// built is a place with all of its mutants in its tests' programs.
type built struct {
	place    place
	dir      string
	mutants  []mutant
	programs map[string]string // a package of tests → its program
	limit    []time.Duration   // what each of the place's tests may take
}

// patience is how many times what the unbroken code takes a mutant may take before it counts as one that hangs; least
// patience is for tests that take next to nothing.
const (
	patience      = 6
	leastPatience = 60 * time.Second
)

// baseline runs all tests on the code as it is, and notes how long they take.
func (b *built) baseline() error {
	for _, t := range b.place.tests {
		begin := time.Now()
		if _, err := b.run(t, 0, "", 10*time.Minute); err != nil {
			// Once more: a test that measures may fail when the machine is busy.
			if out, err := b.run(t, 0, "", 10*time.Minute); err != nil {
				return fmt.Errorf("%s %v: %w\n%s", t.pkg, t.args, err, tail(out))
			}
		}
		b.limit = append(b.limit, max(leastPatience, patience*time.Since(begin)))
	}
	return nil
}

func tail(out string) string { return out[max(0, len(out)-2000):] }

// try runs the tests on a mutant until one notices.
func (b *built) try(m mutant) Verdict {
	v := Verdict{Place: b.place.name, File: filepath.Join(b.place.pkg, m.file), Where: m.where(b.place.pkg), Line: m.line, Change: m.change}
	begin := time.Now()
	defer func() { v.Seconds = time.Since(begin).Seconds() }()
	lua := ""
	if m.text != "" {
		var err error
		if lua, err = b.scriptOf(m); err != nil {
			fmt.Fprintln(os.Stderr, "mutate:", err)
			os.Exit(1)
		}
	}
	for i, t := range b.place.tests {
		if v.By = b.killer(t, m.id, lua, b.limit[i]); v.By != "" {
			v.Killed = true
			break
		}
	}
	v.Seconds = time.Since(begin).Seconds()
	return v
}

// killer is the first test of a program that fails on a mutant, twice, and not on the unbroken code, or "". On a busy
// machine a test may fail once for reasons of its own.
func (b *built) killer(t test, id int, lua string, limit time.Duration) string {
	given, flaky := t.args, []string(nil)
	for {
		out, err := b.run(t, id, lua, limit)
		if err == nil {
			return ""
		}
		name := firstFailure(out)
		switch {
		case name != "":
		case errors.Is(err, context.DeadlineExceeded), strings.Contains(out, "test timed out"):
			return "a test that waits for ever"
		default:
			return "a crash"
		}
		alone := test{t.pkg, append(slices.Clone(t.args), "-test.run=^"+strings.ReplaceAll(name, "/", "$/^")+"$")}
		if _, err := b.run(alone, id, lua, limit); err == nil {
			fmt.Fprintf(os.Stderr, "%s fails now and then\n", name)
		} else if _, err := b.run(alone, 0, "", limit); err == nil {
			return name
		} else {
			fmt.Fprintf(os.Stderr, "%s fails on the unbroken code too\n", name)
		}
		top, _, _ := strings.Cut(name, "/")
		flaky = append(flaky, top)
		t.args = append(slices.Clone(given), "-test.skip=^("+strings.Join(flaky, "|")+")$") // what do the others say?
	}
}

// run runs one of the test programs as a mutant; 0 is none. Tests of Redis get a server of their own: a mutant of the script
// may run for ever, and would hold whoever comes after it.
func (b *built) run(t test, id int, lua string, limit time.Duration) (string, error) {
	if !strings.Contains(t.pkg, "redis") {
		return b.runWith(nil, t, id, lua, limit)
	}
	var out string
	var failed error
	err := testservice.Command(func(tb testing.TB) {
		server := testservice.StartRedis(tb)
		out, failed = b.runWith([]string{"THROTTLE_REDIS_URL=" + server.URL}, t, id, lua, limit)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	return out, failed
}

func (b *built) runWith(env []string, t test, id int, lua string, limit time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit+10*time.Second)
	defer cancel()
	args := []string{"-test.failfast", "-test.timeout=" + limit.String()}
	for _, a := range t.args {
		if a != "" {
			args = append(args, a)
		}
	}
	cmd := exec.CommandContext(ctx, b.programs[t.pkg], args...)
	cmd.Dir = t.pkg
	cmd.Env = append(os.Environ(), "THROTTLE_MUTANT="+strconv.Itoa(id), "THROTTLE_MUTANT_LUA="+lua)
	cmd.Env = append(cmd.Env, env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return string(out), err
}

// firstFailure is the innermost test of the first that failed, or "".
func firstFailure(out string) string {
	name := ""
	for line := range strings.Lines(out) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			n = strings.Fields(n)[0]
			if name != "" && !strings.HasPrefix(n, name+"/") {
				break
			}
			name = n
		}
	}
	return name
}
