package bolt

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// testEpoch is when the clock of a test begins.
var testEpoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func mustOpen(t testing.TB, path string, opts *Options) *Driver {
	t.Helper()
	d, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mustApply(t testing.TB, d driver.Driver, batch ...driver.Request) []driver.Response {
	t.Helper()
	r, err := d.Apply(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustLimits(t testing.TB, quotas ...bucket.Quota) *bucket.Limits {
	t.Helper()
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func recorded(units float64) bucket.Op {
	return bucket.Op{Kind: bucket.Record, Cost: []float64{units}}
}

// level is the level of a key's only bucket.
func level(t testing.TB, d driver.Driver, key string, l *bucket.Limits) float64 {
	t.Helper()
	return mustApply(t, d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{{Kind: bucket.Peek}}})[0].Results[0].State.Buckets[0].Level
}

// put writes a bbolt file with one key in a bucket, and returns its path.
func put(t *testing.T, name, key, value string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte(name))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), []byte(value))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.db")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, path string
		want       error  // nil: only the text is looked at
		say        string // what the text must hold
	}{
		{"a directory", dir, nil, "is a directory: give the path of a file"},
		{"a missing directory", filepath.Join(dir, "none", "file.db"), fs.ErrNotExist, "make the directory first"},
		{"a file for a directory", filepath.Join(write(t, "x"), "file.db"), nil, "part of the path is a file"},
		{"a device", os.DevNull, nil, "is not a regular file"},
		{"a text", write(t, "some text that has nothing to do with it"), ErrForeign, "nothing was changed"},
		{"a long text", write(t, strings.Repeat("some text that has nothing to do with it\n", 1000)), ErrForeign, "nothing was changed"},
		{"zeros", write(t, strings.Repeat("\x00", 1<<16)), ErrForeign, "nothing was changed"},
		{"another program's file", put(t, "users", "a", "b"), ErrForeign, `another program's bucket "users"`},
		{"a bucket of our name without a format", put(t, "throttle", "a", "b"), ErrForeign, "says no format"},
		{"a newer format", put(t, "throttle", "format", "2"), ErrFormat, "upgrade the program"},
		{"a file without keys", put(t, "throttle", "format", "1"), ErrDamaged, `no bucket "keys"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, _ := os.ReadFile(c.path)
			d, err := Open(c.path, nil)
			if err == nil {
				_ = d.Close()
				t.Fatalf("Open(%s) succeeds", c.path)
			}
			var store *driver.StoreError
			if !errors.As(err, &store) || store.Driver != "bolt" || store.Doing != "open" {
				t.Errorf("error %#v is no *driver.StoreError of bolt, open", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("error %q doesn't match %q", err, c.want)
			}
			if text := err.Error(); !strings.Contains(text, c.say) || strings.Count(text, c.path) != 1 {
				t.Errorf("error %q: want it to say %q and the path once", text, c.say)
			}
			if after, _ := os.ReadFile(c.path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	mustOpen(t, path, nil)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want -rw-------", info.Mode())
	}
}

func TestEmptyFileIsNew(t *testing.T) {
	d := mustOpen(t, write(t, ""), nil)
	if r := mustApply(t, d, driver.Request{Key: "k"}); !r[0].Absent {
		t.Error("a new store holds a key")
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	first := mustOpen(t, path, nil)

	began := time.Now()
	_, err := Open(path, &Options{Timeout: 200 * time.Millisecond})
	if waited := time.Since(began); waited < 150*time.Millisecond || waited > 5*time.Second {
		t.Errorf("gave up after %v, want 200ms", waited)
	}
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "timeout=") {
		t.Errorf("error %v, want one that matches ErrLocked, names the file and says what to do", err)
	}
	began = time.Now()
	if _, err := Open(path, &Options{Timeout: -1}); !errors.Is(err, ErrLocked) || time.Since(began) > 5*time.Second {
		t.Errorf("without a timeout: error %v after %v, want ErrLocked at once", err, time.Since(began))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := driver.Open(ctx, "bolt://"+path+"?timeout=1h"); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a ctx that ends: error %v, want one that matches ErrLocked and ctx's", err)
	}

	// Whoever waits gets the file when it is given up.
	opened := make(chan error, 1)
	go func() {
		d, err := Open(path, &Options{Timeout: time.Minute})
		if err == nil {
			err = d.Close()
		}
		opened <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-opened:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("whoever waited never got the file")
	}
}

func TestOpenURL(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, c := range []struct{ url, file string }{
		{"bolt://" + dir + "/absolute.db", "absolute.db"},
		{"bolt:" + "relative.db?timeout=0", "relative.db"},
		{"bolt:./with%20space%23.db?timeout=1s", "with space#.db"},
		{"bolt://" + dir + "/with%3Fmark.db", "with?mark.db"},
	} {
		d, err := driver.Open(t.Context(), c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, c.file)); err != nil {
			t.Errorf("%s: %v", c.url, err)
		}
	}
	for _, c := range []struct{ url, say string }{
		{"bolt://", "no path"},
		{"bolt:", "no path"},
		{"bolt:///", "no path"},
		{"bolt://data/limits.db", "bolt:///data/limits.db if the path is absolute, bolt:data/limits.db if it is relative"},
		{"bolt:///tmp/", "is a directory"},
		{"bolt:///tmp/a#b", "write %23"},
		{"bolt://me@/tmp/a", "no user"},
		{"bolt:a%zz", "malformed path"},
		{"bolt:///tmp/a%00b", "no NUL"},
		{"bolt:///tmp/a?timeout=soon", `timeout="soon"`},
		{"bolt:///tmp/a?timeout=-1s", `timeout="-1s"`},
		{"bolt:///tmp/a?tiemout=1s", `unknown option "tiemout"; allowed: timeout (a duration like 500ms or 2s)`},
	} {
		d, err := driver.Open(t.Context(), c.url)
		if err == nil {
			_ = d.Close()
			t.Errorf("%s is opened", c.url)
		} else if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: error %q, want it to say %q", c.url, err, c.say)
		}
	}
}

// An opening that nobody waits for any more waits for nothing, and leaves the file to others.
func TestOpenWithEndedContext(t *testing.T) {
	dir := t.TempDir()
	was := filepath.Join(dir, "was.db")
	d, err := Open(was, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{was, filepath.Join(dir, "new.db")} {
		_, err := driver.Open(ended, "bolt:"+path)
		var store *driver.StoreError
		if !errors.As(err, &store) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrLocked) {
			t.Errorf("%s: error %v, want a *driver.StoreError of a cancelled context, about no lock", path, err)
		}
		mustOpen(t, path, &Options{Timeout: -1})
	}
}
