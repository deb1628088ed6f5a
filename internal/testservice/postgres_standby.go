package testservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PostgresPair is a Postgres and a standby that follows it.
type PostgresPair struct {
	Primary, Standby *Server
}

// StartPostgresPair starts a Postgres and a standby. If synchronous, the primary answers a COMMIT once the standby has it
// on disk; otherwise a standby that is promoted may lack what was committed last.
func StartPostgresPair(t testing.TB, synchronous bool) *PostgresPair {
	t.Helper()
	p := &PostgresPair{Primary: StartPostgres(t)}
	s, err := newPostgresStandby(p.Primary)
	if err != nil {
		missing(t, "a Postgres standby", err)
	}
	s.run(t)
	p.Standby = s
	err = eventually("follow", func() error {
		return p.Primary.postgresSays("SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'")
	})
	if err == nil && synchronous {
		err = errors.Join(p.Primary.postgres("ALTER SYSTEM SET synchronous_standby_names = '*'"), p.Primary.postgres("SELECT pg_reload_conf()"))
		if err == nil {
			err = eventually("be synchronous", func() error {
				return p.Primary.postgresSays("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
			})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newPostgresStandby copies a server that runs.
func newPostgresStandby(primary *Server) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "throttle-postgres-")
	if err != nil {
		return nil, err
	}
	if primary.user != nil {
		if err := os.Chown(dir, int(primary.user.uid), int(primary.user.gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	data := filepath.Join(dir, "data")
	binary := primary.argv[0]
	copying := exec.Command(filepath.Join(filepath.Dir(binary), "pg_basebackup"), "-D", data, "-d", primary.URL, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	copying.Dir = dir
	setAttributes(copying, primary.user)
	if out, err := copying.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("pg_basebackup: %w\n%s", err, out), os.RemoveAll(dir))
	}
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), dir: dir, user: primary.user, stop: fastSignal}
	s.URL = "postgres://postgres@" + s.Addr + "/postgres?sslmode=disable"
	s.argv = []string{binary, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "synchronous_standby_names="}
	s.ready = func() error { return pingPostgres(s.URL) }
	return s, nil
}

// Promote makes the standby a primary of its own.
func (p *PostgresPair) Promote() error {
	return p.Standby.postgresSays("SELECT pg_promote(true, 60)")
}

// postgres runs SQL.
func (s *Server) postgres(sql string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, sql)
	return err
}

// postgresSays returns an error unless a query says true.
func (s *Server) postgresSays(sql string) error {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.URL)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	var yes bool
	if err := c.QueryRow(ctx, sql).Scan(&yes); err != nil {
		return err
	}
	if !yes {
		return fmt.Errorf("not so: %s", sql)
	}
	return nil
}
