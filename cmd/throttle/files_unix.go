//go:build unix

package main

import "syscall"

// mostInFlight is the most requests at once by default. At 30 s an answer that serves 16,000 requests a minute.
const mostInFlight = 8192

// filesAllow is how many requests may be in flight so that their connections leave other files some room. The go runtime
// has raised the soft limit to the hard one.
func filesAllow() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 512
	}
	if l.Cur > 2*mostInFlight {
		return mostInFlight
	}
	return max(16, int(l.Cur)*3/4-32)
}
