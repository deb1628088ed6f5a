package testservice

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// SmallDisk is a file system of the test's own that can be filled.
type SmallDisk struct {
	Dir string
}

// NewSmallDisk mounts a file system in memory with room for so many bytes, and unmounts it when the test ends. It needs
// Linux and root, and returns an error without.
func NewSmallDisk(t testing.TB, size int) (*SmallDisk, error) {
	dir, err := os.MkdirTemp("", "throttle-disk-")
	if err != nil {
		return nil, err
	}
	if err := mountMemory(dir, size); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	t.Cleanup(func() {
		unmount(dir)
		os.Remove(dir)
	})
	return &SmallDisk{Dir: dir}, nil
}

func (d *SmallDisk) ballast() string { return filepath.Join(d.Dir, "ballast") }

// Fill leaves no room.
func (d *SmallDisk) Fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for {
		if _, err := f.Write(block); err != nil {
			if info, serr := f.Stat(); serr == nil && info.Size() > 0 {
				return nil
			}
			return err
		}
	}
}

// Free gives the room back.
func (d *SmallDisk) Free() error { return os.Remove(d.ballast()) }
