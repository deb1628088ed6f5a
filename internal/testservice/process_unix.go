//go:build unix

package testservice

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

type signal = syscall.Signal

const (
	stopSignal   = syscall.SIGTERM
	fastSignal   = syscall.SIGINT // Postgres: don't wait for clients
	killSignal   = syscall.SIGKILL
	pauseSignal  = syscall.SIGSTOP
	resumeSignal = syscall.SIGCONT
)

// account is whom a server runs as.
type account struct{ uid, gid uint32 }

// unprivileged returns an account for a server that refuses to run as root; nil if the tests don't run as root.
func unprivileged() (*account, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &account{uint32(uid), uint32(gid)}, nil
	}
	return nil, errors.New("the tests run as root, and there is neither a user postgres nor nobody to run a server as")
}

func setAttributes(cmd *exec.Cmd, as *account) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that ^C reaches the tests, which stop it
	if as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	dieWithParent(cmd.SysProcAttr)
}

func send(cmd *exec.Cmd, sig signal) error { return cmd.Process.Signal(sig) }
