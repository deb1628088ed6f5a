//go:build !linux

package main

import "os"

// syncData syncs everything where there is no fdatasync.
func syncData(f *os.File) error { return f.Sync() }
