package testservice

import "syscall"

// dieWithParent makes the kernel end the server when the tests are killed.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
