//go:build linux && (amd64 || arm64)

package faultdisk

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// From linux/seccomp.h, linux/prctl.h and linux/audit.h, which package syscall doesn't have.
const (
	setModeFilter    = 1
	flagTSync        = 1 << 0 // for all threads
	flagNewListener  = 1 << 3
	flagTSyncESRCH   = 1 << 4 // without which the two above exclude each other (Linux 5.7)
	flagWaitKillable = 1 << 5 // a call that was asked about isn't interrupted and made twice (Linux 5.19)
	retAllow         = 0x7fff0000
	retUserNotif     = 0x7fc00000
	ioctlReceive     = 0xc0502100
	ioctlSend        = 0xc0182101
	respContinue     = 1
	setNoNewPrivs    = 38
)

// notification is struct seccomp_notif, and answer struct seccomp_notif_resp.
type notification struct {
	id        uint64
	pid       uint32
	flags     uint32
	nr        int32
	arch      uint32
	pointer   uint64
	arguments [6]uint64
}

type answer struct {
	id    uint64
	value int64
	err   int32
	flags uint32
}

var calls = map[int32]Op{
	syscall.SYS_PWRITE64: Write, syscall.SYS_FSYNC: Sync, syscall.SYS_FDATASYNC: Sync,
	syscall.SYS_FTRUNCATE: Truncate, syscall.SYS_PREAD64: Read,
}

// Install has decide asked about every call from now on, one after another. It can't be undone.
func Install(decide func(Op) Verdict) error {
	// The filter: load the architecture and the number of the call; ask about ours, allow all others.
	program := []syscall.SockFilter{
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: 4},
		{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: auditArch, Jt: 1},
		{Code: syscall.BPF_RET | syscall.BPF_K, K: retAllow},
		{Code: syscall.BPF_LD | syscall.BPF_W | syscall.BPF_ABS, K: 0},
	}
	for nr := range calls {
		program = append(program,
			syscall.SockFilter{Code: syscall.BPF_JMP | syscall.BPF_JEQ | syscall.BPF_K, K: uint32(nr), Jf: 1},
			syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: retUserNotif})
	}
	program = append(program, syscall.SockFilter{Code: syscall.BPF_RET | syscall.BPF_K, K: retAllow})
	filter := syscall.SockFprog{Len: uint16(len(program)), Filter: &program[0]}

	runtime.LockOSThread() // no_new_privs belongs to the thread that installs
	defer runtime.UnlockOSThread()
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("faultdisk: prctl: %w", e)
	}
	const flags = flagTSync | flagNewListener | flagTSyncESRCH
	fd, _, e := syscall.RawSyscall(sysSeccomp, setModeFilter, flags|flagWaitKillable, uintptr(unsafe.Pointer(&filter)))
	if errors.Is(e, syscall.EINVAL) {
		fd, _, e = syscall.RawSyscall(sysSeccomp, setModeFilter, flags, uintptr(unsafe.Pointer(&filter)))
	}
	if e != 0 {
		return fmt.Errorf("faultdisk: seccomp: %w", e)
	}
	go serve(fd, decide)
	return nil
}

func serve(fd uintptr, decide func(Op) Verdict) {
	for {
		n := new(notification) // zeroed: the kernel insists
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlReceive, uintptr(unsafe.Pointer(n))); e != 0 {
			if e == syscall.EINTR || e == syscall.ENOENT {
				continue
			}
			panic(fmt.Sprint("faultdisk: ", e)) // the calls that wait would wait for ever
		}
		a := &answer{id: n.id, flags: respContinue}
		switch v := decide(calls[n.nr]); v.Action {
		case Fail:
			a.flags, a.err = 0, -int32(v.Err)
		case Half:
			a.flags = 0
			a.value, a.err = n.write(n.arguments[2] / 2)
		case KillHalf:
			n.write(n.arguments[2] / 2)
			die()
		case KillBehind:
			n.perform()
			die()
		case Kill:
			die()
		}
		// An error means that the call was given up meanwhile; it will be asked about again.
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, ioctlSend, uintptr(unsafe.Pointer(a)))
	}
}

// write writes the first bytes of what the call wants to write, by a call that isn't asked about.
func (n *notification) write(bytes uint64) (int64, int32) {
	vector := [2]uint64{n.arguments[1], bytes} // struct iovec: the call's own memory, and a length
	r, _, e := syscall.Syscall6(syscall.SYS_PWRITEV, uintptr(n.arguments[0]), uintptr(unsafe.Pointer(&vector)), 1, uintptr(n.arguments[3]), 0, 0)
	if e != 0 {
		return 0, -int32(e)
	}
	return int64(r), 0
}

// perform does what the call wants. A process that is killed loses nothing that it has written, so syncs don't matter.
func (n *notification) perform() {
	switch calls[n.nr] {
	case Write:
		n.write(n.arguments[2])
	case Truncate:
		_ = syscall.Truncate(fmt.Sprintf("/proc/self/fd/%d", n.arguments[0]), int64(n.arguments[1]))
	}
}

func die() {
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}
