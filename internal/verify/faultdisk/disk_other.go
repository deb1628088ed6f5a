//go:build !linux || (!amd64 && !arm64)

package faultdisk

import "errors"

// Install says that this system can't ask.
func Install(func(Op) Verdict) error {
	return errors.New("faultdisk: needs seccomp's user notification: Linux on amd64 or arm64")
}
