package bolt

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzPath: a URL names a file, or it is refused; and each name can be written as a URL that names it.
func FuzzPath(f *testing.F) {
	for _, rest := range []string{"///a/b.db", "a.db", "//host/a", "a%23b?x=1", "///%00", "//", "/a//", "///a#b", "C:/x", "%zz", "//u:p@/a", "///a%2Fb", "./.."} {
		f.Add(rest)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		if u, err := url.Parse("bolt:" + rest); err == nil {
			path, err := pathOf(u)
			if (err == nil) == (path == "") {
				t.Fatalf("%q: %q, %v", u, path, err)
			}
			if strings.ContainsRune(path, 0) || strings.HasSuffix(path, "/") {
				t.Errorf("%q names %q", u, path)
			}
		}
		if rest == "" || strings.ContainsRune(rest, 0) || strings.HasSuffix(rest, "/") {
			return
		}
		for raw, want := range map[string]string{"bolt:///" + url.PathEscape(rest): "/" + rest, "bolt:" + url.PathEscape(rest): rest} {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			if path, err := pathOf(u); err != nil || path != want {
				t.Errorf("%q names %q (%v), want %q", raw, path, err, want)
			}
		}
	})
}
