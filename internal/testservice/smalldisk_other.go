//go:build !linux

package testservice

import "errors"

func mountMemory(string, int) error {
	return errors.New("only Linux can mount a file system in memory")
}

func unmount(string) {}
