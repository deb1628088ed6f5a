//go:build unix

package bolt

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOpenWithoutRights runs as somebody to whom something can be forbidden: root runs it again as nobody.
func TestOpenWithoutRights(t *testing.T) {
	if os.Geteuid() == 0 {
		again := exec.Command(copyOfTest(t), "-test.run=^TestOpenWithoutRights$", "-test.v")
		again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		again.Dir = "/"
		if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("as nobody: %v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file.db")
	if err := mustOpen(t, path, nil).Close(); err != nil {
		t.Fatal(err)
	}
	for _, forbid := range []func() error{
		func() error { return os.Chmod(path, 0o400) },
		func() error { return os.Chmod(path, 0) },
		func() error { return errors.Join(os.Remove(path), os.Chmod(dir, 0o500)) },
	} {
		if err := forbid(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "let this user read and write") {
			t.Errorf("error %v, want one that says what to do about rights", err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// copyOfTest is this program where everybody may run it.
func copyOfTest(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "rights")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}
