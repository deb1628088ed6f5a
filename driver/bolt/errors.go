package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/driver"
)

// Errors of [Open] and Apply, wrapped in a [*driver.StoreError]; test with errors.Is.
var (
	// ErrLocked: another process (or another Driver in this one) holds the file.
	ErrLocked = errors.New("the file is held by another process")
	// ErrForeign: the file is not ours: no bbolt file at all, or one with another program's data. It was not touched.
	ErrForeign = errors.New("not a throttle file")
	// ErrDamaged: the file is ours or was, and can't be read as a whole, or a write to it has failed in a way that
	// leaves its content in doubt. It is not written any more.
	ErrDamaged = errors.New("the file is damaged")
	// ErrFormat: a newer version of this package wrote the file.
	ErrFormat = errors.New("the file has another format")
)

const (
	remedyLocked  = "stop the process that holds it, wait longer with timeout=…, give each process a file of its own, or share the limit through driver/redis or driver/postgres"
	remedyForeign = "give a path of its own for limits; nothing was changed in this file"
	remedyDamaged = "restore it from a backup, or move it away to start anew with every bucket full"
)

// storeError wraps err with the file's path.
func storeError(path, doing string, err error, remedy string) error {
	return &driver.StoreError{Driver: "bolt", Doing: doing, Remedy: remedy, Err: fmt.Errorf("%s: %w", path, err)}
}

func (d *Driver) storeError(doing string, err error, remedy string) error {
	return storeError(d.path, doing, err, remedy)
}

func damaged(path, doing, how string) error {
	return storeError(path, doing, fmt.Errorf("%w: %s", ErrDamaged, how), remedyDamaged)
}

// openError makes something to act upon out of what opening a file returned.
func openError(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) && at.Path == path {
		err = at.Err // the path is said once
	}
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return storeError(path, "open", ErrLocked, remedyLocked)
	case errors.Is(err, bbolt.ErrVersionMismatch):
		return storeError(path, "open", fmt.Errorf("%w: %w", ErrForeign, err), remedyForeign)
	case errors.Is(err, bbolt.ErrInvalid), errors.Is(err, bbolt.ErrChecksum):
		return storeError(path, "open", fmt.Errorf("%w: %w", ErrForeign, err), "if it was one, restore it from a backup; otherwise "+remedyForeign)
	case errors.Is(err, fs.ErrNotExist):
		return storeError(path, "open", err, "make the directory first")
	case errors.Is(err, syscall.ENOTDIR):
		return storeError(path, "open", err, "part of the path is a file: give the path of a file in a directory")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return storeError(path, "open", err, "let this user read and write the file and its directory, or give another path")
	}
	return storeError(path, "open", err, "")
}
