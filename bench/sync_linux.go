package main

import (
	"os"
	"syscall"
)

// syncData is the sync that a database uses: of what was written, not of when.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
