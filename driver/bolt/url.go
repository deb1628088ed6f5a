package bolt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"

	"github.com/tokenthrottle/throttle/driver"
)

func init() {
	driver.Register("bolt", func(ctx context.Context, u *url.URL) (driver.Driver, error) {
		path, err := pathOf(u)
		if err != nil {
			return nil, err
		}
		q := driver.NewQuery(u)
		timeout := q.Duration("timeout", DefaultTimeout)
		if err := q.Err(); err != nil {
			return nil, err
		}
		if timeout == 0 {
			timeout = -1
		}
		return open(ctx, path, &Options{Timeout: timeout})
	})
}

const forms = "want bolt:///absolute/path.db or bolt:relative/path.db"

// pathOf is the path of the file that a URL names.
func pathOf(u *url.URL) (string, error) {
	path := u.Path
	switch {
	case u.Fragment != "" || strings.HasSuffix(u.String(), "#"):
		return "", fmt.Errorf("the path ends at #: write %%23 for a # in a file's name (%s)", forms)
	case u.User != nil:
		return "", errors.New("a file has no user: " + forms)
	case u.Host != "":
		return "", fmt.Errorf("%q is where a host would be: write bolt:///%s%s if the path is absolute, bolt:%s%s if it is relative", u.Host, u.Host, u.Path, u.Host, u.Path)
	case u.Opaque != "":
		var err error
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", fmt.Errorf("malformed path %q: %w", u.Opaque, err)
		}
	case runtime.GOOS == "windows":
		path = strings.TrimPrefix(path, "/") // bolt:///C:/…
	}
	switch {
	case path == "" || path == "/":
		return "", errors.New("no path: " + forms)
	case strings.HasSuffix(path, "/"):
		return "", fmt.Errorf("%s is a directory: %s", path, forms)
	case strings.ContainsRune(path, 0):
		return "", errors.New("a path holds no NUL: " + forms)
	}
	return path, nil
}
