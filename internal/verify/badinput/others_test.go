package badinput

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	promclient "github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/driver/redis"
	throttleotel "github.com/tokenthrottle/throttle/otel"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
	"github.com/tokenthrottle/throttle/throttlehttp"
)

func stores() (rows []row) {
	add := func(function, what string, want any, call func(*testing.T) error) {
		rows = append(rows, row{function, what, call, want})
	}
	// What all drivers have in common is in TestOpenErrors.
	for _, address := range []string{
		"", "::", "nope://x", "memory://host", "memory://?a=b",
		"bolt:", "bolt://host/x", "bolt:///no/such/folder/f", "bolt:x?timeout=abc", "bolt:x?nope=1", "bolt:x?timeout=-5s",
		"redis://h:99999", "redis://h/x", "redis://h?nope=1", "redis://h?timeout=-1s", "redis://h?timeout=x",
		"redis://h?prefix=" + strings.Repeat("p", 2000), "redis+sentinel://h:1", "redis+sentinel://h:1/m?nope=1",
		"redis+cluster://h?nope=1", "rediss://h?nope=1",
		"postgres://h:x/", "postgres://h/d?timeout=x", "postgres://h/d?timeout=-1s", "postgres://h/d?schema=" + strings.Repeat("x", 64),
		"postgres://h/d?table=%ff", "postgres://h/d?prune=x", "postgres://h/d?migrate=perhaps", "postgres://h/d?sslmode=bogus",
		"postgres://h/d?pool_max_conns=-1",
	} {
		add("driver.Open", "the URL "+address[:min(len(address), 40)], new(*driver.OpenError), func(t *testing.T) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			d, err := driver.Open(ctx, address)
			if err == nil {
				d.Close()
			}
			return err
		})
	}
	opener := func(context.Context, *url.URL) (driver.Driver, error) { return nil, nil }
	add("driver.Register", "no opener", panics("nil Opener"), func(*testing.T) error { driver.Register("badinput", nil); return nil })
	add("driver.Register", "a scheme twice", panics("twice"), func(*testing.T) error { driver.Register("memory", opener); return nil })
	add("driver.Register", "no scheme", panics("scheme"), func(*testing.T) error { driver.Register("", opener); return nil })
	add("driver.Register", "no scheme that a URL could have", panics("scheme"), func(*testing.T) error { driver.Register("Red is", opener); return nil })
	add("driver.NewQuery", "options that are none", new(*driver.OptionError), func(*testing.T) error { return driver.NewQuery(&url.URL{RawQuery: "%zz"}).Err() })
	long := []driver.Request{{Key: strings.Repeat("k", driver.MaxKey+1)}}
	add("driver.Check", "a long key", new(*driver.KeyError), func(*testing.T) error { return driver.Check(long) })

	apply := func(d driver.Driver, batch []driver.Request) error { _, err := d.Apply(ctx, batch); return err }
	add("driver/memory.New", "no option", nil, func(*testing.T) error { return apply(memory.New(nil), []driver.Request{{Key: "k"}}) })
	add("driver/memory.WithClock", "no clock", nil, func(*testing.T) error { return apply(memory.New(memory.WithClock(nil)), []driver.Request{{Key: "k"}}) })
	add("driver/memory.Driver.Apply", "a long key", new(*driver.KeyError), func(*testing.T) error { return apply(memory.New(), long) })
	file := func(t *testing.T) string { return filepath.Join(t.TempDir(), "limits.db") }
	add("driver/bolt.Driver.Apply", "a long key", new(*driver.KeyError), func(t *testing.T) error {
		d, err := bolt.Open(file(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		return apply(d, long)
	})
	for what, path := range map[string]string{"no path": "", "a NUL in the path": "a\x00b", "a folder": "."} {
		add("driver/bolt.Open", what, new(*driver.StoreError), func(*testing.T) error { _, err := bolt.Open(path, nil); return err })
	}

	client := func(t *testing.T) *goredis.Client {
		c := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
		t.Cleanup(func() { c.Close() })
		return c
	}
	add("driver/redis.New", "no client", panics("driver/redis: "), func(*testing.T) error { redis.New(nil, nil); return nil })
	add("driver/redis.New", "a long prefix", panics("driver/redis: "), func(t *testing.T) error {
		redis.New(client(t), &redis.Options{Prefix: strings.Repeat("p", 1025)})
		return nil
	})
	add("driver/redis.New", "a timeout below 0", nil, func(t *testing.T) error {
		return redis.New(client(t), &redis.Options{Timeout: -1}).Close()
	})
	option := new(*postgres.OptionError)
	add("driver/postgres.New", "no pool", option, func(*testing.T) error { _, err := postgres.New(ctx, nil, nil); return err })
	add("driver/postgres.NewNotifying", "no pool", option, func(*testing.T) error { _, err := postgres.NewNotifying(ctx, nil, nil); return err })
	add("driver/postgres.Migrate", "nothing to run it", option, func(*testing.T) error { return postgres.Migrate(ctx, nil, nil) })
	for what, o := range map[string]postgres.Options{
		"a NUL in the table": {Table: "a\x00"}, "a long schema": {Schema: strings.Repeat("x", 64)}, "a table that is no UTF-8": {Table: "\xff"},
		"a timeout below 0": {Timeout: -1},
	} {
		add("driver/postgres.SQL", what, option, func(*testing.T) error { _, err := postgres.SQL(&o); return err })
		add("driver/postgres.New", what, option, func(*testing.T) error { _, err := postgres.New(ctx, nil, &o); return err })
		add("driver/postgres.Migrate", what, option, func(*testing.T) error { return postgres.Migrate(ctx, nil, &o) })
	}

	none := &fallback.Options{Retry: -1, Patience: -1, Processes: -1}
	for name, wrap := range map[string]func(driver.Driver, *fallback.Options) driver.Driver{"Share": fallback.Share, "Open": fallback.Open} {
		add("driver/fallback."+name, "no store", panics("driver/fallback: "), func(*testing.T) error { wrap(nil, nil); return nil })
		add("driver/fallback."+name, "numbers below 0", nil, func(*testing.T) error { return apply(wrap(memory.New(), none), []driver.Request{{Key: "k"}}) })
		add("driver/fallback."+name, "a long key", new(*driver.KeyError), func(*testing.T) error { return apply(wrap(memory.New(), nil), long) })
	}
	return rows
}

// plain is a store that can't list its keys.
type plain struct{ driver.Driver }

func observers() (rows []row) {
	add := func(function, what string, want any, call func(*testing.T) error) {
		rows = append(rows, row{function, what, call, want})
	}
	limiter := func() *throttle.Limiter { return throttle.New(memory.New(), throttle.Static(throttle.PerDay("r", 1))) }
	add("throttlehttp.Handler", "no limiter", panics("throttlehttp: "), func(*testing.T) error { throttlehttp.Handler(nil, nil); return nil })
	add("throttlehttp.Handler", "numbers below 0", nil, func(*testing.T) error {
		throttlehttp.Handler(limiter(), &throttlehttp.Options{MaxFamilies: -1, MaxViewers: -1, Interval: -1, History: -1}).Close()
		return nil
	})
	add("throttlehttp.StoreHandler", "no store", argument, func(*testing.T) error { _, err := throttlehttp.StoreHandler(nil, nil); return err })
	add("throttlehttp.StoreHandler", "a store that can't be listed", argument, func(*testing.T) error {
		_, err := throttlehttp.StoreHandler(plain{memory.New()}, nil)
		return err
	})
	add("prometheus.Register", "no registry", argument, func(*testing.T) error { return throttleprom.Register(nil, limiter(), nil) })
	add("prometheus.Register", "no limiter", argument, func(*testing.T) error { return throttleprom.Register(promclient.NewRegistry(), nil, nil) })
	add("prometheus.Register", "twice", new(*throttleprom.RegisteredError), func(t *testing.T) error {
		reg := promclient.NewRegistry()
		if err := throttleprom.Register(reg, limiter(), &throttleprom.Options{MaxFamilies: -1, Flows: []string{""}}); err != nil {
			t.Fatal(err)
		}
		return throttleprom.Register(reg, limiter(), nil)
	})
	add("prometheus.NewHooks", "no registry", argument, func(*testing.T) error { _, err := throttleprom.NewHooks(nil, nil); return err })
	add("prometheus.NewCollector", "no limiter", panics("throttleprom: "), func(*testing.T) error { throttleprom.NewCollector(nil, nil); return nil })
	add("otel.Register", "no limiter", argument, func(*testing.T) error { _, err := throttleotel.Register(nil, nil); return err })
	add("otel.Register", "numbers below 0", nil, func(*testing.T) error {
		stop, err := throttleotel.Register(limiter(), &throttleotel.Options{MaxFamilies: -1})
		if err == nil {
			err = stop()
		}
		return err
	})
	add("otel.NewHooks", "numbers below 0", nil, func(*testing.T) error {
		_, err := throttleotel.NewHooks(&throttleotel.Options{MaxFamilies: -1})
		return err
	})
	return rows
}
