package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Bash itself completes commands, options and shells with what the command prints.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here")
	}
	script := execute(t, "completion", "bash")
	if script.code != 0 || script.stderr != "" {
		t.Fatalf("%+v", script)
	}
	for _, c := range []struct {
		line []string // the last word is to be completed
		want string
	}{
		{[]string{"throttle", "s"}, "status serve"},
		{[]string{"throttle", "--v"}, "--version"},
		{[]string{"throttle", "batch", "--rp"}, "--rpm --rpd"},
		{[]string{"throttle", "batch", "in.jsonl", "out.jsonl", "--retry"}, "--retry-failed"},
		{[]string{"throttle", "completion", ""}, "--help bash zsh fish"},
		{[]string{"throttle", "status", "--store", "s"}, ""},   // a value is not an option
		{[]string{"throttle", "batch", "--errors", "--h"}, ""}, // nor what comes after one that takes a value
		{[]string{"throttle", "demo-"}, ""},                    // hidden
	} {
		cmd := exec.Command(bash, append([]string{"--norc", "-c", script.stdout + `
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _throttle; echo "${COMPREPLY[*]}"`, "bash"}, c.line...)...)
		got, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != c.want {
			t.Errorf("%q completes to %q (%v), want %q", c.line, got, err, c.want)
		}
	}
}

// The scripts for zsh and fish name every command and option, in lines that these shells can read.
func TestOtherShellsComplete(t *testing.T) {
	help := execute(t, "batch", "--help").stdout
	for _, shell := range []string{"zsh", "fish"} {
		script := execute(t, "completion", shell)
		if script.code != 0 || script.stderr != "" {
			t.Fatalf("%+v", script)
		}
		for _, command := range []string{"demo", "batch", "status", "top", "serve", "provider", "completion"} {
			if !strings.Contains(script.stdout, command) {
				t.Errorf("%s: no %s", shell, command)
			}
		}
		for _, word := range strings.Fields(help) {
			name, isOption := strings.CutPrefix(word, "--")
			name = strings.TrimRight(strings.SplitN(name, "=", 2)[0], ".,;")
			if isOption && !strings.Contains(script.stdout, "--"+name) && !strings.Contains(script.stdout, "-l "+name+" ") {
				t.Errorf("%s: no --%s", shell, name)
			}
		}
		for line := range strings.Lines(script.stdout) {
			if strings.Count(line, "'")%2 != 0 {
				t.Errorf("%s: an open quote: %s", shell, line)
			}
		}
		if path, err := exec.LookPath(shell); err == nil {
			cmd := exec.Command(path, "-n", "/dev/stdin")
			cmd.Stdin = strings.NewReader(script.stdout)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n: %v\n%s", filepath.Base(path), err, out)
			}
		}
	}
	if got := execute(t, "completion", "tcsh"); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

func TestJoinNegative(t *testing.T) {
	for args, want := range map[string]string{
		"batch in out --rpm -1 --tpm -1": "batch in out --rpm=-1 --tpm=-1",
		"batch in out --rpm=-1":          "batch in out --rpm=-1",
		"batch in out --rpm 5 -1":        "batch in out --rpm 5 -1",
		"status --store redis://h -- -1": "status --store redis://h -- -1",
		"status -- --rpm -1":             "status -- --rpm -1",
		"batch in - --json -q":           "batch in - --json -q",
		"demo --burst -.5":               "demo --burst=-.5",
	} {
		if got := joinNegative(strings.Fields(args)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s became %q, want %s", args, got, want)
		}
	}
}
