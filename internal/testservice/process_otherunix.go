//go:build unix && !linux

package testservice

import "syscall"

func dieWithParent(*syscall.SysProcAttr) {}
