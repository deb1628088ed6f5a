package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

func init() {
	for _, scheme := range []string{"redis", "rediss"} {
		driver.Register(scheme, open(single))
		driver.Register(scheme+"+cluster", open(cluster))
		driver.Register(scheme+"+sentinel", open(sentinel))
	}
}

// Timeouts of a client that was opened by URL, unless the URL says otherwise: short, because the driver asks again.
const (
	dialTimeout = 2 * time.Second
	readTimeout = 2 * time.Second
)

// open makes an opener from what makes a client. The server must answer.
func open(connect func(u *url.URL, q *driver.Query) (redis.UniversalClient, error)) driver.Opener {
	return func(ctx context.Context, u *url.URL) (driver.Driver, error) {
		q := driver.NewQuery(u)
		o := &Options{Prefix: q.String("prefix", defaultPrefix), Timeout: q.Duration("timeout", defaultTimeout)}
		client, err := connect(u, q)
		if err != nil {
			return nil, err
		}
		if len(o.Prefix) > maxPrefix {
			client.Close()
			return nil, fmt.Errorf("option prefix has %d bytes: at most %d are allowed", len(o.Prefix), maxPrefix)
		}
		d := New(client, o)
		d.owned = true
		ctx, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		now, err := client.Time(ctx).Result()
		if err != nil {
			client.Close()
			if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return nil, ctx.Err()
			}
			return nil, &driver.StoreError{Driver: "redis", Doing: "open", Remedy: diagnose(err).remedy, Err: err}
		}
		d.clock.saw(bucket.At(now))
		return d, nil
	}
}

// plain is u as go-redis takes it: with the scheme redis or rediss, and no options but its own.
func plain(u *url.URL, options url.Values) string {
	own := *u
	own.Scheme, _, _ = strings.Cut(u.Scheme, "+")
	own.RawQuery = options.Encode()
	return own.String()
}

func single(u *url.URL, q *driver.Query) (redis.UniversalClient, error) {
	options := q.Rest()
	if err := q.Err(); err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(plain(u, options))
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled = true
	if !options.Has("max_retries") {
		o.MaxRetries = -1
	}
	setTimeouts(options, &o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	return redis.NewClient(o), nil
}

func cluster(u *url.URL, q *driver.Query) (redis.UniversalClient, error) {
	options := q.Rest()
	if err := q.Err(); err != nil {
		return nil, err
	}
	o, err := redis.ParseClusterURL(plain(u, options))
	if err != nil {
		return nil, err
	}
	o.ContextTimeoutEnabled = true
	setTimeouts(options, &o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	return redis.NewClusterClient(o), nil
}

// setTimeouts replaces the client's defaults where the URL says nothing.
func setTimeouts(options url.Values, dial, read, write *time.Duration) {
	if !options.Has("dial_timeout") {
		*dial = dialTimeout
	}
	if !options.Has("read_timeout") {
		*read = readTimeout
	}
	if !options.Has("write_timeout") {
		*write = readTimeout
	}
}

func sentinel(u *url.URL, q *driver.Query) (redis.UniversalClient, error) {
	o := &redis.FailoverOptions{
		MasterName:            strings.Trim(u.Path, "/"),
		SentinelUsername:      q.String("sentinel_username", ""),
		SentinelPassword:      q.String("sentinel_password", ""),
		DB:                    q.Int("db", 0, 0),
		PoolSize:              q.Int("pool_size", 0, 1),
		DialTimeout:           q.Duration("dial_timeout", dialTimeout),
		ReadTimeout:           q.Duration("read_timeout", readTimeout),
		WriteTimeout:          q.Duration("write_timeout", readTimeout),
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
	}
	addrs := []string{u.Host}
	if others := q.String("addrs", ""); others != "" {
		addrs = append(addrs, strings.Split(others, ",")...)
	}
	if err := q.Err(); err != nil {
		return nil, err
	}
	if o.MasterName == "" || strings.Contains(o.MasterName, "/") {
		return nil, fmt.Errorf("want the name of the master as the path: %s://sentinel:26379/mymaster", u.Scheme)
	}
	for _, addr := range addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			addr = net.JoinHostPort(strings.Trim(addr, "[]"), "26379")
		}
		o.SentinelAddrs = append(o.SentinelAddrs, addr)
	}
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	if strings.HasPrefix(u.Scheme, "rediss") {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return redis.NewFailoverClient(o), nil
}
