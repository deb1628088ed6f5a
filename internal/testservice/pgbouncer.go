package testservice

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// StartPgbouncer starts a pgbouncer in transaction mode before the Postgres at postgresURL, with the given number of
// connections to it, and ends it with the test. Each of these runs setup first, if that isn't empty.
func StartPgbouncer(t testing.TB, postgresURL string, connections int, setup string) *Server {
	t.Helper()
	s, err := newPgbouncer(postgresURL, connections, setup)
	if err != nil {
		missing(t, "pgbouncer", err)
	}
	s.run(t)
	return s
}

func newPgbouncer(postgresURL string, connections int, setup string) (*Server, error) {
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil { // where Debian puts it, and not all look
			return nil, errors.New("neither on PATH nor in /usr/sbin")
		}
	}
	u, err := url.Parse(postgresURL)
	if err != nil {
		return nil, err
	}
	user, err := unprivileged()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "throttle-pgbouncer-")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(config, []byte(pgbouncerConfig(u, port, connections, setup)), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if user != nil {
		if err := errors.Join(os.Chown(dir, int(user.uid), int(user.gid)), os.Chown(config, int(user.uid), int(user.gid))); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), dir: dir, user: user, stop: fastSignal, argv: []string{binary, config}}
	s.URL = (&url.URL{Scheme: "postgres", User: url.User(u.User.Username()), Host: s.Addr, Path: u.Path, RawQuery: "sslmode=disable"}).String()
	s.ready = func() error { return pingPostgres(s.URL) }
	return s, nil
}

func pgbouncerConfig(u *url.URL, port, connections int, setup string) string {
	database := fmt.Sprintf("%s = host=%s user=%s", strings.TrimPrefix(u.Path, "/"), u.Hostname(), u.User.Username())
	if p := u.Port(); p != "" {
		database += " port=" + p
	}
	if password, ok := u.User.Password(); ok {
		database += " password=" + quotePgbouncer(password)
	}
	if setup != "" {
		database += " connect_query=" + quotePgbouncer(setup)
	}
	return fmt.Sprintf(`[databases]
%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 1000
`, database, port, connections)
}

func quotePgbouncer(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
