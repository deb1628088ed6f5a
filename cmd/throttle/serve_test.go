package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/bolt"
)

// used makes a store with one family that something has used, and gives its URL.
func used(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "limits.db")
	d, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 1_000_000)))
	if _, err := l.Acquire(t.Context(), "a-family", throttle.Usage{"tokens": 400_000}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return "bolt://" + filepath.ToSlash(path)
}

func TestServeShowsAStore(t *testing.T) {
	cmd, out := background(t, "serve", "--store", used(t), "--listen", "127.0.0.1:0")
	var url string
	if _, err := fmt.Fscanln(out, &url); err != nil {
		t.Fatal(err)
	}
	get := func(path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := get("", ""); code != 200 || !strings.Contains(body, "<title>throttle</title>") {
		t.Errorf("the page: %d", code)
	}
	if code, body := get("?json", "localhost:1"); code != 200 || !strings.Contains(body, `"name": "a-family"`) || !strings.Contains(body, `"burst": 1000000`) {
		t.Errorf("the state: %d %s", code, body)
	}
	// A page elsewhere, whose name resolves to this machine, gets nothing.
	for _, host := range []string{"evil.example", "evil.example:80", "169.254.169.254", "localhost.evil.example"} {
		if code, _ := get("?json", host); code != http.StatusForbidden {
			t.Errorf("for the host %s: %d", host, code)
		}
	}
	// It ends in good order while somebody looks.
	stream, err := http.Get(url + "?events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestServeAndTopUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--store", "memory://"}, "no other can look into it"},
		{[]string{"serve", "--store", used(t), "--listen", "nowhere:x"}, "listen"},
		{[]string{"serve", "--store", used(t), "--most", "0"}, "--most is 0"},
		{[]string{"serve", "--store", "bolt:///there/is/no/such.db"}, "no such file"},
		{[]string{"top", "--store", used(t)}, "needs a terminal"},
		{[]string{"top", "--store", used(t), "--every", "1ms"}, "--every is 1ms"},
		{[]string{"top", "--store", used(t), "--most=-1"}, "--most is -1"},
	} {
		if got := execute(t, c.args...); got.code != exitUsage || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%q: %+v, want exit code %d and %q", c.args, got, exitUsage, c.want)
		}
	}
}
