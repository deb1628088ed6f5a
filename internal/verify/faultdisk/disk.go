// Package faultdisk makes the disk fail under a program that doesn't know of it, at the very call that is chosen.
//
// The kernel asks before each call that writes, syncs, grows or reads a file (seccomp's user notification, Linux 5.0 and
// later, no privileges needed), and a goroutine of the program answers: let it pass, fail it with an error, do half of it,
// or die there and then. What fails is the system call itself, so nothing above it is replaced: not os.File, not the
// library that uses it. It holds for the whole process and for good, so it belongs in a child process.
package faultdisk

import "syscall"

// Op is what a call wants of the disk.
type Op int

// The operations that are asked about.
const (
	Write    Op = iota // pwrite64
	Sync               // fsync, fdatasync
	Truncate           // ftruncate
	Read               // pread64
)

var opNames = [...]string{"write", "sync", "truncate", "read"}

// String returns the operation's name.
func (o Op) String() string { return opNames[o] }

// Action is what becomes of a call.
type Action int

// The actions.
const (
	Pass       Action = iota // the call is made
	Fail                     // it fails with the verdict's error
	Half                     // half of the bytes are written, and the call says so
	Kill                     // the process is killed before it
	KillHalf                 // the process is killed when half of the bytes are written
	KillBehind               // the process is killed when it is done
)

// Verdict is an action with what it needs.
type Verdict struct {
	Action Action
	Err    syscall.Errno // of Fail
}
