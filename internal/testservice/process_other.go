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
	pauseSignal
	resumeSignal
)

type account struct{ uid, gid uint32 }

func unprivileged() (*account, error) { return nil, nil }

func setAttributes(*exec.Cmd, *account) {}

func send(cmd *exec.Cmd, sig signal) error {
	switch sig {
	case resumeSignal:
		return nil
	case pauseSignal:
		return errors.New("a process can't be paused on this system")
	}
	return cmd.Process.Kill()
}
