package testservice

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { Main(m) }

func client(t *testing.T, s *Server) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1, ReadTimeout: 100 * time.Millisecond})
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSharedRedisIsSweptByPrefix(t *testing.T) {
	url := Redis(t)
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	var key string
	t.Run("use", func(t *testing.T) {
		key = Prefix(t, url) + "k"
		if err := c.Set(t.Context(), key, "v", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	})
	if n := c.Exists(context.Background(), key).Val(); n != 0 {
		t.Errorf("key %q is still there", key)
	}
}

func TestSharedPostgresSchemaIsDropped(t *testing.T) {
	url := Postgres(t)
	var schema string
	t.Run("use", func(t *testing.T) { schema = Schema(t, url) })
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var n int
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", schema).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != 0 {
		t.Errorf("schema %s is still there", schema)
	}
}

func TestServiceNamedByTheEnvironmentMustAnswer(t *testing.T) {
	t.Setenv("THROTTLE_REDIS_URL", "redis://127.0.0.1:1")
	if _, err := redisService.find(); err == nil || !strings.Contains(err.Error(), "THROTTLE_REDIS_URL") {
		t.Errorf("redisService.find with a dead URL: %v", err)
	}
	t.Setenv("THROTTLE_POSTGRES_URL", "postgres://127.0.0.1:1/x")
	if _, err := postgresService.find(); err == nil || !strings.Contains(err.Error(), "THROTTLE_POSTGRES_URL") {
		t.Errorf("postgresService.find with a dead URL: %v", err)
	}
}

func TestOwnRedisPausesDiesAndComesBack(t *testing.T) {
	s := StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	c := client(t, s)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a paused server answered")
	}
	s.Resume()
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a killed server answered")
	}
	s.Restart()
	if v, err := c.Get(t.Context(), "k").Result(); v != "v" {
		t.Errorf("after a restart: %q, %v", v, err)
	}
}

func TestOwnPostgresPauses(t *testing.T) {
	s := StartPostgres(t)
	c, err := pgx.Connect(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	s.Pause()
	answered := make(chan error, 1)
	go func() { answered <- c.Ping(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if other, err := pgx.Connect(ctx, s.URL); err == nil {
		t.Error("a paused server let somebody in")
		other.Close(t.Context())
	}
	if len(answered) > 0 {
		t.Error("a paused server answered on a connection that stood")
	}
	s.Resume()
	if err := <-answered; err != nil {
		t.Errorf("after the pause: %v", err)
	}
	s.Pause()
	s.Kill() // a paused server can end, and leaves nobody who holds what the next one needs
	s.Restart()
	if err := pingPostgres(s.URL); err != nil {
		t.Error(err)
	}
}

func TestOwnPostgresComesBack(t *testing.T) {
	s := StartPostgres(t, "-c", "max_connections=7")
	show := func() string {
		c, err := pgx.Connect(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		var v string
		if err := c.QueryRow(t.Context(), "SHOW max_connections").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := show(); v != "7" {
		t.Errorf("max_connections %s, want 7", v)
	}
	s.Kill()
	s.Restart()
	show()
	if u, err := url.Parse(s.URL); err != nil || u.Host != s.Addr {
		t.Errorf("URL %q, address %q", s.URL, s.Addr)
	}
}

func TestOwnClusterServesAllSlots(t *testing.T) {
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: StartRedisCluster(t, 3, true).Addrs()})
	defer c.Close()
	for _, key := range strings.Split("a b c d e f g h i j", " ") {
		if err := c.Set(t.Context(), key, "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := DeleteKeys(t.Context(), c, ""); err != nil {
		t.Fatal(err)
	}
	if n := c.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left", n)
	}
}

func TestOwnSentinelFailsOver(t *testing.T) {
	r := StartRedisSentinel(t)
	c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: r.Name, SentinelAddrs: r.Addrs()})
	defer c.Close()
	r.Master.Kill()
	r.WaitFailover(t, r.Master)
	err := eventually("write", func() error { return c.Set(t.Context(), "k", "v", 0).Err() })
	if err != nil {
		t.Fatal(err)
	}
}

func TestOwnStandbyIsPromoted(t *testing.T) {
	p := StartPostgresPair(t, true)
	if err := p.Primary.postgres("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	if err := p.Standby.postgres("INSERT INTO kept VALUES (8)"); err == nil {
		t.Error("a standby takes writes")
	}
	p.Primary.Kill()
	if err := p.Promote(); err != nil {
		t.Fatal(err)
	}
	if err := p.Standby.postgres("INSERT INTO kept VALUES (8)"); err != nil {
		t.Error(err)
	}
	if err := p.Standby.postgresSays("SELECT array_agg(n ORDER BY n) = '{7,8}' FROM kept"); err != nil {
		t.Error(err)
	}
}

func TestOwnClockIsSet(t *testing.T) {
	r, ofRedis, err := StartRedisWithClock(t)
	if err != nil {
		missing(t, "what this needs", err)
	}
	p, ofPostgres, err := StartPostgresWithClock(t)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, r)
	conn, err := pgx.Connect(t.Context(), p.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for name, now := range map[string]func() time.Time{
		"redis": func() time.Time { return c.Time(t.Context()).Val() },
		"postgres": func() (at time.Time) {
			if err := conn.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&at); err != nil {
				t.Fatal(err)
			}
			return at
		},
	} {
		clock := map[string]*Clock{"redis": ofRedis, "postgres": ofPostgres}[name]
		for _, step := range []time.Duration{time.Hour, -2 * time.Hour, time.Hour} {
			before := now()
			if err := clock.Step(step); err != nil {
				t.Fatal(err)
			}
			if got := now().Sub(before); got < step || got > step+time.Minute {
				t.Errorf("%s: set by %v, the clock moved by %v", name, step, got)
			}
		}
	}
}

func TestSmallDiskIsFull(t *testing.T) {
	disk, err := NewSmallDisk(t, 1<<20)
	if err != nil {
		missing(t, "what this needs", err)
	}
	if err := disk.Fill(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(disk.Dir, "file")
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); err == nil {
		t.Error("there is room on a full disk")
	}
	if err := disk.Free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 1<<16), 0o600); err != nil {
		t.Error(err)
	}
}
