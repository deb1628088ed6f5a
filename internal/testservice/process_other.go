//go:build !unix

package testservice

import (
	"errors"
	"os/exec"
)

type signal int

const (
	stopSignal signal = iota
	fastSignal
	killSignal
)

type account struct{ uid, gid uint32 }

func unprivileged() (*account, error) { return nil, nil }

func setAttributes(*exec.Cmd, *account) {}

func send(cmd *exec.Cmd, _ signal) error { return cmd.Process.Kill() }

func pause(int) ([]int, error) { return nil, errors.New("a process can't be paused on this system") }

func resume([]int) {}
