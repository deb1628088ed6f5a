package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	_ "github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// store is where a driver keeps its state, and how to measure it from outside.
type store struct {
	driver, url string
	measure     func(context.Context) (map[string]float64, error)
}

var drivers = []string{"memory", "bolt", "redis", "postgres"}

// newStore starts a server of the soak's own, so that nobody else's keys and connections are measured.
func newStore(t testing.TB, name string) (*store, error) {
	none := func(context.Context) (map[string]float64, error) { return nil, nil }
	switch name {
	case "memory":
		return &store{name, "memory://", none}, nil
	case "bolt":
		path := filepath.Join(t.TempDir(), "limits.db")
		return &store{name, "bolt://" + path, func(context.Context) (map[string]float64, error) {
			info, err := os.Stat(path)
			if err != nil {
				return nil, err
			}
			return map[string]float64{size: float64(info.Size())}, nil
		}}, nil
	case "redis":
		return newRedisStore(t)
	case "postgres":
		return newPostgresStore(t)
	}
	return nil, fmt.Errorf("no driver %q: want one of %v", name, drivers)
}

func newRedisStore(t testing.TB) (*store, error) {
	url := testservice.StartRedis(t).URL
	options, err := goredis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.PoolSize = 1
	c := goredis.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return &store{"redis", url, func(ctx context.Context) (map[string]float64, error) {
		n, err := c.DBSize(ctx).Result()
		if err != nil {
			return nil, err
		}
		info, err := c.InfoMap(ctx, "memory", "clients").Result()
		if err != nil {
			return nil, err
		}
		var used, clients float64
		if _, err := fmt.Sscan(info["Memory"]["used_memory"]+" "+info["Clients"]["connected_clients"], &used, &clients); err != nil {
			return nil, fmt.Errorf("redis: INFO: %w", err)
		}
		return map[string]float64{keys: float64(n), size: used, connections: clients - 1}, nil
	}}, nil
}

func newPostgresStore(t testing.TB) (*store, error) {
	url := testservice.StartPostgres(t).URL
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return &store{"postgres", url + "&migrate=true&notify=true", func(ctx context.Context) (map[string]float64, error) {
		var rows, bytes, clients float64
		err := c.QueryRow(ctx, `SELECT (SELECT count(*) FROM throttle), pg_total_relation_size('throttle'),
(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())`).Scan(&rows, &bytes, &clients)
		return map[string]float64{keys: rows, size: bytes, connections: clients}, err
	}}, nil
}

// joiner opens a store as one process after another does. A store that one process holds is opened once, and closed
// when the last has left.
func joiner(name, url string) func(context.Context) (driver.Driver, func(), error) {
	if name != "memory" && name != "bolt" {
		return func(ctx context.Context) (driver.Driver, func(), error) {
			d, err := driver.Open(ctx, url)
			return d, func() { d.Close() }, err
		}
	}
	var mu sync.Mutex
	var held driver.Driver
	users := 0
	return func(ctx context.Context) (driver.Driver, func(), error) {
		mu.Lock()
		defer mu.Unlock()
		if users == 0 {
			d, err := driver.Open(ctx, url)
			if err != nil {
				return nil, nil, err
			}
			held = d
		}
		users++
		return held, func() {
			mu.Lock()
			defer mu.Unlock()
			if users--; users == 0 {
				held.Close()
			}
		}, nil
	}
}
