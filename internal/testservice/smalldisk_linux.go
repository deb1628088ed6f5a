package testservice

import (
	"fmt"
	"os"
	"syscall"
)

func mountMemory(dir string, size int) error {
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0777", size)); err != nil {
		return fmt.Errorf("mount a file system in memory (which takes root): %w", err)
	}
	return os.Chmod(dir, 0o777)
}

func unmount(dir string) { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }
