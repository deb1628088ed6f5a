//go:build unix

package filedriver_test

import (
	"path/filepath"
	"testing"

	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/examples/filedriver"
)

func TestConformance(t *testing.T) {
	again := func(_ testing.TB, d driver.Driver) driver.Driver {
		return &filedriver.Driver{Path: d.(*filedriver.Driver).Path}
	}
	conformance.Run(t,
		func(tb testing.TB) driver.Driver {
			return &filedriver.Driver{Path: filepath.Join(tb.TempDir(), "limits.json")}
		},
		&conformance.Options{Another: again, Reopen: again})
}
