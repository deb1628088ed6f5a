//go:build unix && !linux

package testservice

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"syscall"
)

func dieWithParent(*syscall.SysProcAttr) {}

// parents tells of every process whose child it is.
func parents() (map[int]int, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	of := map[int]int{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var pid, parent int
		if _, err := fmt.Sscan(lines.Text(), &pid, &parent); err != nil {
			return nil, fmt.Errorf("ps says %q: %w", lines.Text(), err)
		}
		of[pid] = parent
	}
	return of, nil
}
