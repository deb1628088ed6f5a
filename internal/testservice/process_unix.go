//go:build unix

package testservice

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"slices"
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

// pause stops a process and all below it, and returns which. Postgres serves each client in a process of its own, which
// goes on while the one that started it stands.
func pause(root int) (stopped []int, err error) {
	stopped = []int{root}
	if err := syscall.Kill(root, pauseSignal); err != nil {
		return nil, err
	}
	// A process that was about to start another may have done so while it was stopped: look until nobody is new.
	for {
		of, err := parents()
		if err != nil {
			return stopped, err
		}
		before := len(stopped)
		for i := 0; i < len(stopped); i++ {
			for pid, parent := range of {
				if parent != stopped[i] || slices.Contains(stopped, pid) {
					continue
				}
				if err := syscall.Kill(pid, pauseSignal); err == nil { // else it has ended
					stopped = append(stopped, pid)
				}
			}
		}
		if len(stopped) == before {
			return stopped, nil
		}
	}
}

// resume lets processes go on that were stopped. One that was killed meanwhile is no error.
func resume(stopped []int) {
	for _, pid := range stopped {
		_ = syscall.Kill(pid, resumeSignal)
	}
}
