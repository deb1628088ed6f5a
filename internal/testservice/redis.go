package testservice

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis returns the URL of a Redis that the tests share. See [Prefix].
func Redis(t testing.TB) string {
	t.Helper()
	return redisService.use(t)
}

func pingRedis(url string) error {
	o, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	o.MaxRetries = -1
	o.DialTimeout = 2 * time.Second
	c := redis.NewClient(o)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return c.Ping(ctx).Err()
}

// Prefix returns a key prefix that nobody else uses, and deletes its keys from the Redis at url when the test ends.
func Prefix(t testing.TB, url string) string {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	prefix := "throttle-test:" + rand.Text() + ":"
	t.Cleanup(func() {
		c := redis.NewClient(o)
		defer c.Close()
		if err := DeleteKeys(context.Background(), c, prefix); err != nil {
			t.Errorf("delete the test's keys: %v", err)
		}
	})
	return prefix
}

// DeleteKeys deletes every key that starts with prefix, which holds no glob characters, on every master.
func DeleteKeys(ctx context.Context, c redis.UniversalClient, prefix string) error {
	sweep := func(ctx context.Context, c *redis.Client) error {
		keys := c.Scan(ctx, 0, prefix+"*", 1000).Iterator()
		for keys.Next(ctx) {
			if err := c.Del(ctx, keys.Val()).Err(); err != nil {
				return err
			}
		}
		return keys.Err()
	}
	switch c := c.(type) {
	case *redis.Client:
		return sweep(ctx, c)
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, sweep)
	}
	return fmt.Errorf("can't list the keys of a %T", c)
}

// StartRedis starts a redis-server of the test's own on a free port, with args as on its command line, and ends it with
// the test. Unless the arguments say otherwise it keeps nothing on disk.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := newRedis(args...)
	if err != nil {
		missing(t, "redis-server", err)
	}
	s.run(t)
	return s
}

// run starts a server for a test.
func (s *Server) run(t testing.TB) {
	t.Helper()
	s.t = t
	t.Cleanup(func() {
		s.Kill()
		os.RemoveAll(s.dir)
	})
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func newRedis(args ...string) (*Server, error) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	port, err := freePort(clusterBus)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "throttle-redis-")
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: "127.0.0.1:" + strconv.Itoa(port), dir: dir, stop: stopSignal}
	s.URL = "redis://" + s.Addr
	s.argv = append([]string{binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"}, args...)
	s.ready = func() error {
		err := pingRedis(s.URL)
		if err != nil && answersPing(err) {
			return nil
		}
		return err
	}
	return s, nil
}

// answersPing says whether a refusal shows that the server is up.
func answersPing(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused) && !strings.HasPrefix(refused.Error(), "LOADING")
}
