package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/testservice"
	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

// site is a store, with a proxy before it where clients don't find the servers themselves.
type site struct {
	server *testservice.Server // the one that faults strike
	proxy  *faultproxy.Proxy   // may be nil
	url    string              // what drivers open
	// requests and answers are how many messages pass in a connection's life until it has done all there is to do.
	requests, answers int

	admin    *redis.Client // past the proxy; its connection stands before anything breaks
	disk     *testservice.SmallDisk
	clock    *testservice.Clock
	sentinel *testservice.RedisSentinel
	pair     *testservice.PostgresPair
}

// before puts a proxy before the site's server; drivers connect as user, if it isn't empty.
func (s *site) before(t testing.TB, protocol faultproxy.Protocol, user string) (*site, error) {
	p, err := faultproxy.New(s.server.Addr, protocol)
	if err != nil {
		return nil, err
	}
	t.Cleanup(p.Close)
	s.proxy = p
	u, err := url.Parse(s.server.URL)
	if err != nil {
		return nil, err
	}
	u.Host = p.Addr
	if user != "" {
		u.User = url.User(user)
	}
	s.url = u.String()
	return s, nil
}

// redisOver is a site of a Redis that keeps everything, and answers once it is on the disk.
func redisOver(t testing.TB, server *testservice.Server) (*site, error) {
	s := &site{server: server, requests: 6, answers: 6}
	if err := s.administer(t, server.Addr); err != nil {
		return nil, err
	}
	return s.before(t, faultproxy.Redis, "")
}

// administer makes the admin's connection.
func (s *site) administer(t testing.TB, addr string) error {
	s.admin = redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1})
	t.Cleanup(func() { s.admin.Close() })
	return s.admin.Ping(context.Background()).Err()
}

var redisKeeps = []string{"--appendonly", "yes", "--appendfsync", "always"}

func redisSite(t testing.TB) (*site, error) {
	return redisOver(t, testservice.StartRedis(t, redisKeeps...))
}

func redisWithClock(t testing.TB) (*site, error) {
	server, clock, err := testservice.StartRedisWithClock(t, redisKeeps...)
	if err != nil {
		return nil, err
	}
	s, err := redisOver(t, server)
	if err == nil {
		s.clock = clock
	}
	return s, err
}

// redisOnDisk has a small disk for its data, which it syncs as it is told.
func redisOnDisk(fsync string) func(testing.TB) (*site, error) {
	return func(t testing.TB) (*site, error) {
		disk, err := testservice.NewSmallDisk(t, 16<<20)
		if err != nil {
			return nil, err
		}
		s, err := redisOver(t, testservice.StartRedis(t, "--appendonly", "yes", "--appendfsync", fsync, "--dir", disk.Dir))
		if err == nil {
			s.disk = disk
		}
		return s, err
	}
}

func redisWithSentinel(t testing.TB) (*site, error) {
	r := testservice.StartRedisSentinel(t)
	addrs := r.Addrs()
	s := &site{server: r.Master, sentinel: r}
	s.url = fmt.Sprintf("redis+sentinel://%s/%s?addrs=%s,%s", addrs[0], r.Name, addrs[1], addrs[2])
	return s, s.administer(t, r.Master.Addr)
}

// driverRole is whom drivers connect to Postgres as: somebody with the rights that docs/operating-postgres.md names and no
// more. A superuser would be let in where others are refused.
const driverRole = "app"

// admitDriver makes the table, and the role.
func admitDriver(server *testservice.Server) error {
	d, err := driver.Open(context.Background(), server.URL+"&migrate=true")
	if err != nil {
		return err
	}
	return errors.Join(d.Close(), onPostgres(`CREATE ROLE `+driverRole+` LOGIN;
		GRANT USAGE ON SCHEMA public TO `+driverRole+`;
		GRANT SELECT, INSERT, UPDATE, DELETE ON public.throttle TO `+driverRole)(&site{server: server}))
}

func postgresOver(t testing.TB, server *testservice.Server) (*site, error) {
	if err := admitDriver(server); err != nil {
		return nil, err
	}
	s := &site{server: server, requests: 30, answers: 50}
	return s.before(t, faultproxy.Postgres, driverRole)
}

func postgresSite(t testing.TB) (*site, error) {
	return postgresOver(t, testservice.StartPostgres(t))
}

func postgresWithClock(t testing.TB) (*site, error) {
	server, clock, err := testservice.StartPostgresWithClock(t)
	if err != nil {
		return nil, err
	}
	s, err := postgresOver(t, server)
	if err == nil {
		s.clock = clock
	}
	return s, err
}

func postgresOnDisk(t testing.TB) (*site, error) {
	disk, err := testservice.NewSmallDisk(t, 128<<20)
	if err != nil {
		return nil, err
	}
	s, err := postgresOver(t, testservice.StartPostgresOn(t, disk))
	if err == nil {
		s.disk = disk
	}
	return s, err
}

// postgresPair is a primary and its standby behind one address, which a failover moves.
func postgresPair(synchronous bool) func(testing.TB) (*site, error) {
	return func(t testing.TB) (*site, error) {
		pair := testservice.StartPostgresPair(t, synchronous)
		s, err := postgresOver(t, pair.Primary)
		if err == nil {
			s.pair = pair
		}
		return s, err
	}
}

// postgresHosts is a primary and its standby whose addresses clients know both.
func postgresHosts(t testing.TB) (*site, error) {
	pair := testservice.StartPostgresPair(t, true)
	if err := admitDriver(pair.Primary); err != nil {
		return nil, err
	}
	return &site{
		server: pair.Primary, pair: pair,
		url: fmt.Sprintf("postgres://%s@%s,%s/postgres?sslmode=disable&target_session_attrs=read-write", driverRole, pair.Primary.Addr, pair.Standby.Addr),
	}, nil
}

// open is how many connections of this process stand. Only Linux tells of those that pass no proxy.
func (s *site) open() int {
	if runtime.GOOS != "linux" {
		if s.proxy == nil {
			return 0
		}
		return s.proxy.Open()
	}
	n := 0
	files, _ := os.ReadDir("/proc/self/fd")
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", f.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// onRedis runs a command past the proxy.
func onRedis(args ...any) func(*site) error {
	return func(s *site) error { return s.admin.Do(context.Background(), args...).Err() }
}

// onPostgres runs SQL past the proxy.
func onPostgres(sql string) func(*site) error {
	return func(s *site) error {
		ctx := context.Background()
		c, err := pgx.Connect(ctx, s.server.URL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		_, err = c.Exec(ctx, sql)
		return err
	}
}
