//go:build linux && (amd64 || arm64)

package faultdisk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const childVariable = "THROTTLE_FAULTDISK_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		child(job)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child writes ten bytes three times and syncs; its second write meets the fault.
func child(job string) {
	path, fault, _ := strings.Cut(job, "|")
	verdict := map[string]Verdict{
		"none": {}, "ENOSPC": {Action: Fail, Err: syscall.ENOSPC}, "EIO": {Action: Fail, Err: syscall.EIO},
		"half": {Action: Half}, "kill": {Action: Kill}, "kill half": {Action: KillHalf}, "kill behind": {Action: KillBehind},
	}[fault]
	writes := 0
	err := Install(func(o Op) Verdict {
		if o == Write {
			if writes++; writes == 2 {
				return verdict
			}
		}
		return Verdict{}
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	f, err := os.Create(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for i := range 3 {
		n, err := f.WriteAt([]byte(strings.Repeat(fmt.Sprint(i), 10)), int64(10*i))
		var errno syscall.Errno
		errors.As(err, &errno)
		fmt.Println(n, int(errno))
	}
	fmt.Println(f.Sync(), f.Close())
}

func TestFaultsStrikeTheSecondWrite(t *testing.T) {
	for _, c := range []struct{ fault, out, content string }{
		{"none", "10 0\n10 0\n10 0\n<nil> <nil>\n", "000000000011111111112222222222"},
		{"ENOSPC", "10 0\n0 28\n10 0\n<nil> <nil>\n", "0000000000" + strings.Repeat("\x00", 10) + "2222222222"},
		{"EIO", "10 0\n0 5\n10 0\n<nil> <nil>\n", "0000000000" + strings.Repeat("\x00", 10) + "2222222222"},
		// os.File writes the rest with another call.
		{"half", "10 0\n10 0\n10 0\n<nil> <nil>\n", "000000000011111111112222222222"},
		{"kill", "10 0\n", "0000000000"},
		{"kill half", "10 0\n", "000000000011111"},
		{"kill behind", "10 0\n", "00000000001111111111"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "file")
			cmd := exec.Command(self)
			cmd.Env = append(os.Environ(), childVariable+"="+path+"|"+c.fault)
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "seccomp") {
				t.Skipf("not tried: %s", out)
			}
			if killed := strings.HasPrefix(c.fault, "kill"); killed != (err != nil) {
				t.Errorf("the child ended with %v", err)
			}
			if string(out) != c.out {
				t.Errorf("the child saw\n%swant\n%s", out, c.out)
			}
			if content, _ := os.ReadFile(path); string(content) != c.content {
				t.Errorf("the file holds %q, want %q", content, c.content)
			}
		})
	}
}
