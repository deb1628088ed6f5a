package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/internal/testservice"
	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

// site is a store with a proxy before it.
type site struct {
	name   string
	server *testservice.Server
	proxy  *faultproxy.Proxy
	url    string        // through the proxy
	admin  *redis.Client // past the proxy; its connection stands before anything breaks
}

// fault is one way in which a store or the way to it breaks, and how it is mended.
type fault struct {
	name string
	// begin breaks it; end mends it. Nil ends do nothing.
	begin, end func(s *site) error
	// amnesia says that the store forgets its state: the books start anew, and a hook must tell.
	amnesia bool
}

// through are the faults of the way, the same for every store. The strike is at the n-th message, for several n, so that
// it meets every step of a conversation.
func through() []fault {
	var list []fault
	for _, f := range []faultproxy.Fault{faultproxy.CutBefore, faultproxy.CutAfter, faultproxy.Half} {
		for _, after := range []int{0, 1, 2, 3, 7} {
			list = append(list, fault{
				name:  fmt.Sprintf("%s, message %d", f, after+1),
				begin: func(s *site) error { s.proxy.Set(f, after, 0); return nil },
			})
		}
	}
	return append(list,
		fault{name: "delay of 300 ms", begin: func(s *site) error { s.proxy.Set(faultproxy.Slow, 0, 150*time.Millisecond); return nil }},
		fault{name: "black hole", begin: func(s *site) error { s.proxy.Set(faultproxy.Hold, 0, 0); return nil }},
		fault{name: "black hole, message 4", begin: func(s *site) error { s.proxy.Set(faultproxy.Hold, 3, 0); return nil }},
		fault{name: "reset storm", begin: func(s *site) error { s.proxy.Set(faultproxy.Reset, 0, 0); return nil }},
		fault{name: "server paused (SIGSTOP)", begin: func(s *site) error { s.server.Pause(); return nil }, end: func(s *site) error { s.server.Resume(); return nil }},
		fault{name: "server restarted", begin: func(s *site) error { s.server.Restart(); return nil }},
		fault{name: "server killed (SIGKILL), started again", begin: func(s *site) error { s.server.Kill(); s.server.Restart(); return nil }},
	)
}

// onRedis runs a command past the proxy.
func onRedis(args ...any) func(*site) error {
	return func(s *site) error { return s.admin.Do(context.Background(), args...).Err() }
}

// always repeats what would otherwise pass too quickly, a few times.
func always(do func(*site) error) func(*site) error {
	return func(s *site) error {
		for range 20 {
			if err := do(s); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond) // between the strikes, not to wait for anything
		}
		return nil
	}
}

func redisFaults() []fault {
	return append(through(),
		fault{name: "script cache flushed", begin: always(onRedis("SCRIPT", "FLUSH"))},
		fault{name: "connections killed", begin: always(onRedis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))},
		fault{name: "memory full", begin: onRedis("CONFIG", "SET", "maxmemory", "1"), end: onRedis("CONFIG", "SET", "maxmemory", "0")},
		fault{name: "read-only", begin: onRedis("REPLICAOF", "127.0.0.1", "1"), end: onRedis("REPLICAOF", "NO", "ONE")},
		fault{name: "too many connections", begin: func(s *site) error {
			if err := onRedis("CONFIG", "SET", "maxclients", "1")(s); err != nil {
				return err
			}
			s.proxy.CutAll()
			return nil
		}, end: onRedis("CONFIG", "SET", "maxclients", "10000")},
		fault{name: "data flushed", begin: onRedis("FLUSHALL"), amnesia: true},
	)
}

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

const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"

func postgresFaults() []fault {
	return append(through(),
		fault{name: "backends terminated", begin: always(onPostgres(terminate))},
		fault{name: "read-only", begin: func(s *site) error {
			if err := onPostgres("ALTER SYSTEM SET default_transaction_read_only = on")(s); err != nil {
				return err
			}
			return onPostgres("SELECT pg_reload_conf()")(s)
		}, end: func(s *site) error {
			if err := onPostgres("SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only")(s); err != nil {
				if err := onPostgres("ALTER SYSTEM RESET default_transaction_read_only")(s); err != nil {
					return err
				}
			}
			return onPostgres("SELECT pg_reload_conf()")(s)
		}},
		fault{name: "too many connections", begin: func(s *site) error {
			if err := onPostgres("ALTER DATABASE postgres CONNECTION LIMIT 0")(s); err != nil {
				return err
			}
			return onPostgres(terminate)(s)
		}, end: onPostgres("ALTER DATABASE postgres CONNECTION LIMIT -1")},
		fault{name: "data flushed", begin: onPostgres("DELETE FROM throttle"), amnesia: true},
	)
}

// newSite starts a store of its own, with a proxy before it.
func newSite(h *host, name string) (*site, error) {
	s := &site{name: name}
	switch name {
	case "redis":
		s.server = testservice.StartRedis(h, "--appendonly", "yes", "--appendfsync", "always")
		s.admin = redis.NewClient(&redis.Options{Addr: s.server.Addr, PoolSize: 1})
		h.Cleanup(func() { s.admin.Close() })
	case "postgres":
		s.server = testservice.StartPostgres(h)
	}
	p, err := faultproxy.New(s.server.Addr, nil)
	if err != nil {
		return nil, err
	}
	h.Cleanup(p.Close)
	s.proxy = p
	u, err := url.Parse(s.server.URL)
	if err != nil {
		return nil, err
	}
	u.Host = p.Addr
	if name == "postgres" {
		q := u.Query()
		q.Set("migrate", "true")
		u.RawQuery = q.Encode()
	}
	s.url = u.String()
	return s, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "torture:", err)
	os.Exit(1)
}
