package testservice

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres returns the URL of a Postgres that the tests share; its user may create schemas. See [Schema].
func Postgres(t testing.TB) string {
	t.Helper()
	return postgresService.use(t)
}

func pingPostgres(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return c.Ping(ctx)
}

// Schema creates a schema that nobody else uses in the Postgres at url, and drops it with all it holds when the test
// ends.
func Schema(t testing.TB, url string) string {
	t.Helper()
	schema := "throttle_test_" + strings.ToLower(rand.Text())
	run := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, sql)
		return err
	}
	if err := run("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := run("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			t.Errorf("drop the test's schema: %v", err)
		}
	})
	return schema
}

// StartPostgres starts a Postgres of the test's own on a free port, with args as on the command line of postgres ("-c",
// "max_connections=5"), and ends it with the test. Its user postgres needs no password, and its database is postgres.
func StartPostgres(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := newPostgres(args...)
	if err != nil {
		missing(t, "postgres", err)
	}
	s.run(t)
	return s
}

// StartPostgresOn is StartPostgres with the data, in small segments, on a disk of some 100 MB.
func StartPostgresOn(t testing.TB, disk *SmallDisk, args ...string) *Server {
	t.Helper()
	s, err := newPostgresIn(disk.Dir, []string{"--wal-segsize=1"}, args...)
	if err != nil {
		missing(t, "postgres", err)
	}
	s.run(t)
	return s
}

// newPostgres makes a data directory. Postgres refuses to run as root, so there the directory and the server belong to
// somebody else.
func newPostgres(args ...string) (*Server, error) { return newPostgresIn("", nil, args...) }

// newPostgresIn makes the data directory below parent, if there is one; initdb gets init. The log lies elsewhere, so that it
// can tell of a disk that is full.
func newPostgresIn(parent string, init []string, args ...string) (*Server, error) {
	binary, err := findPostgresBinary()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "throttle-postgres-")
	if err != nil {
		return nil, err
	}
	if parent == "" {
		parent = dir
	}
	if user != nil {
		if err := errors.Join(os.Chown(dir, int(user.uid), int(user.gid)), os.Chown(parent, int(user.uid), int(user.gid))); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	data := filepath.Join(parent, "data")
	initdb := exec.Command(filepath.Join(filepath.Dir(binary), "initdb"), append([]string{"-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"}, init...)...)
	initdb.Dir = dir
	setAttributes(initdb, user)
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), dir: dir, user: user, stop: fastSignal}
	s.URL = "postgres://postgres@" + s.Addr + "/postgres?sslmode=disable"
	s.argv = append([]string{binary, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}, args...)
	s.ready = func() error { return pingPostgres(s.URL) }
	return s, nil
}

// findPostgresBinary returns a postgres that has its initdb beside it: on PATH (through symbolic links), or where
// Debian puts it.
func findPostgresBinary() (string, error) {
	var candidates []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		candidates = append(candidates, path)
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.Reverse(debian)
	candidates = append(candidates, debian...)
	for _, path := range candidates {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "initdb")); err == nil {
			return path, nil
		}
	}
	return "", errors.New("neither on PATH nor below /usr/lib/postgresql, with initdb beside it")
}
