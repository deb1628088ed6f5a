//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/internal/provider"
)

// What can't be an output is refused at once: reading /dev/full for what it holds never ends, and what is written to
// /dev/null is not there at the next start.
func TestBatchTakesOnlyFilesThatKeepWhatIsWritten(t *testing.T) {
	b := newWorkBench(t, 1, provider.Config{}, "--quiet")
	pipe := filepath.Join(b.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/stdout", pipe, b.dir} {
		if _, err := os.Stat(out); err != nil {
			t.Logf("%s is not tried: %v", out, err)
			continue
		}
		args := append([]string{"batch", b.in, out, "--errors", filepath.Join(b.dir, "errors")}, b.args[3:]...)
		if got := execute(t, args...); got.code != exitUsage || got.stdout != "" || !strings.Contains(got.stderr, out) {
			t.Errorf("%s: %+v", out, got)
		}
	}
	if got := execute(t, append([]string{"batch", b.dir, b.out}, b.args[3:]...)...); got.code != exitUsage || !strings.Contains(got.stderr, b.dir+": is a directory") {
		t.Errorf("a directory as input: %+v", got)
	}
	if n := b.api.Stats()["gpt-4.1-mini"].Accepted; n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// --errors names a file that is written anew. A file that isn't such a list, a directory and a device are not.
func TestBatchWritesErrorsOverNothingElse(t *testing.T) {
	b := newWorkBench(t, 1, provider.Config{}, "--quiet")
	bad := filepath.Join(b.dir, "bad.jsonl")
	notes, empty, folder := filepath.Join(b.dir, "notes.txt"), filepath.Join(b.dir, "empty"), filepath.Join(b.dir, "folder")
	for path, text := range map[string]string{bad: "oops\n", notes: "dear diary\n", empty: ""} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	try := func(rejects string) outcome {
		t.Helper()
		return execute(t, append([]string{"batch", bad, b.out, "--errors", rejects}, b.args[3:]...)...)
	}
	for _, path := range []string{notes, folder, b.in} {
		if got := try(path); got.code != exitUsage || !strings.Contains(got.stderr, path) {
			t.Errorf("--errors %s: %+v", path, got)
		}
	}
	if text, err := os.ReadFile(notes); err != nil || string(text) != "dear diary\n" {
		t.Errorf("the notes became %q, %v", text, err)
	}
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		t.Errorf("the folder is gone: %v", err)
	}
	// An own list, an empty file and a device will do; a device stays one.
	device := filepath.Join(b.dir, "device")
	if err := os.Symlink("/dev/null", device); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, empty, device, "/dev/null"} {
		if got := try(path); got.code != exitIncomplete {
			t.Errorf("--errors %s: %+v", path, got)
		}
	}
	if text, err := os.ReadFile(empty); err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("the list of errors is %q, %v", text, err)
	}
	if info, err := os.Stat(device); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Errorf("the device is no more: %v", err)
	}
}

// A run that waits for its input ends when it is interrupted, though the input goes on.
func TestAnInterruptEndsARunThatWaitsForItsInput(t *testing.T) {
	b := newWorkBench(t, 3, provider.Config{}, "--quiet", "--rpm=-1", "--tpm=-1")
	cmd := exec.Command(binary, append([]string{"batch", "-"}, b.args[2:]...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(text); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for b.done(t) < 3 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		t.Error("it was there a minute after the interrupt")
	}
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	b.check(t, 3)
}

func TestBatchSaysWhatIsWrongWithTheKey(t *testing.T) {
	const right = "sk-right-1234567890"
	b := newWorkBench(t, 1, provider.Config{APIKey: right}, "--quiet")
	for _, c := range []struct {
		key, want string
		code      int
	}{
		{"", "OPENAI_API_KEY is not set", exitRefused},
		{"sk-wrong", "check OPENAI_API_KEY", exitRefused},
		{"sk-ri\nght", "OPENAI_API_KEY", exitUsage},
		{right + "\n", "", exitOK}, // as `KEY=$(cat file)` would have it, and a secret mounted as a file has not
	} {
		var stdout, stderr bytes.Buffer
		p := &program{t.Context(), strings.NewReader(""), &stdout, &stderr, func(name string) string {
			if name == "OPENAI_API_KEY" {
				return c.key
			}
			return ""
		}}
		if code := p.run(b.args); code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("key %q: exit code %d, want %d; %s", c.key, code, c.code, stderr.String())
		}
	}
}

// Looking at a file that holds nothing is no reason to write to it.
func TestStatusLeavesAnEmptyFileAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := execute(t, "status", "--store", "bolt://"+path)
	if info, err := os.Stat(path); err != nil || info.Size() != 0 || got.code != exitUsage || !strings.Contains(got.stderr, "empty") {
		t.Errorf("%v, %+v", err, got)
	}
}
