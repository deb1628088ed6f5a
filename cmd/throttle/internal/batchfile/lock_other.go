//go:build !unix || solaris || aix

package batchfile

import "os"

// lock does nothing where there is no flock: that no two processes write one output is then the user's to see to.
func lock(*os.File) error { return nil }
