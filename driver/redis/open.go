package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
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
		if u.Opaque != "" { // redis:host would reach localhost
			return nil, fmt.Errorf("want %s://host:port", u.Scheme)
		}
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
			return nil, &driver.StoreError{Driver: "redis", Doing: "open", Remedy: openRemedy(u.Scheme, err), Err: err}
		}
		d.clock.saw(bucket.At(now))
		return d, nil
	}
}

// openRemedy is what to do about an error of the first call, when it is the URL that may be wrong.
func openRemedy(scheme string, err error) string {
	secured := strings.HasPrefix(scheme, "rediss")
	remedy := diagnose(err).remedy
	switch text := err.Error(); {
	case strings.Contains(text, "DB index is out of range"):
		return "the server has fewer databases: name one of them as the URL's path, or raise databases in its configuration"
	case strings.Contains(text, "cluster support disabled"):
		single, _, _ := strings.Cut(scheme, "+")
		return "the server is no cluster's: use a URL with " + single + "://"
	case errors.Is(err, io.EOF) && !secured:
		return "see whether Redis listens there, and whether it wants TLS (rediss)"
	case secured && (errors.Is(err, context.DeadlineExceeded) || isTimeout(err)):
		return "see whether the server speaks TLS there; otherwise " + remedy
	}
	return remedy
}

// Options that go-redis takes in a URL, for people: it says only which it doesn't know, and newer versions know more.
const (
	clientOptions = "client_name, protocol, max_retries, min_retry_backoff, max_retry_backoff, dial_timeout, read_timeout, write_timeout, " +
		"pool_fifo, pool_size, pool_timeout, min_idle_conns, max_idle_conns, max_active_conns, conn_max_idle_time, conn_max_lifetime"
	singleOptions  = "db, " + clientOptions
	clusterOptions = "addr, max_redirects, read_only, route_by_latency, route_randomly, " + clientOptions
)

// optionError is an error of go-redis's about a URL; where it doesn't know an option, with those that it does.
func optionError(err error, allowed string) error {
	if !strings.Contains(err.Error(), "unexpected option") {
		return err
	}
	return fmt.Errorf("%w; allowed: prefix, timeout, and the client's %s", err, allowed)
}

// mostConnections is more than a machine has ports for; go-redis panics at a pool of a negative or an enormous size.
const mostConnections = 100_000

// rest returns the options that are go-redis's. It takes the last of several alike, which hides mistakes.
func rest(q *driver.Query) (url.Values, error) {
	options := q.Rest()
	if err := q.Err(); err != nil {
		return nil, err
	}
	for name, values := range options {
		if len(values) > 1 && name != "addr" {
			return nil, fmt.Errorf("option %s is given %d times", name, len(values))
		}
	}
	size, err := strconv.Atoi(options.Get("pool_size"))
	if err != nil { // absent, or what go-redis will refuse
		return options, nil
	}
	return options, checkPoolSize(size)
}

func checkPoolSize(size int) error {
	if size < 0 || size > mostConnections {
		return fmt.Errorf("option pool_size=%d: want at most %d, or 0 for the client's default", size, mostConnections)
	}
	return nil
}

// plain is u as go-redis takes it: with the scheme redis or rediss, and no options but its own.
func plain(u *url.URL, options url.Values) string {
	own := *u
	own.Scheme, _, _ = strings.Cut(u.Scheme, "+")
	own.RawQuery = options.Encode()
	return own.String()
}

func single(u *url.URL, q *driver.Query) (redis.UniversalClient, error) {
	options, err := rest(q)
	if err != nil {
		return nil, err
	}
	o, err := redis.ParseURL(plain(u, options))
	if err != nil {
		return nil, optionError(err, singleOptions)
	}
	o.ContextTimeoutEnabled = true
	if !options.Has("max_retries") {
		o.MaxRetries = -1
	}
	setTimeouts(options, &o.DialTimeout, &o.ReadTimeout, &o.WriteTimeout)
	return redis.NewClient(o), nil
}

func cluster(u *url.URL, q *driver.Query) (redis.UniversalClient, error) {
	options, err := rest(q)
	if err != nil {
		return nil, err
	}
	if database := strings.Trim(u.Path, "/"); database != "" && database != "0" {
		return nil, fmt.Errorf("a cluster has one database, 0, and not %q", database)
	}
	o, err := redis.ParseClusterURL(plain(u, options))
	if err != nil {
		return nil, optionError(err, clusterOptions)
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
	if err := checkPoolSize(o.PoolSize); err != nil {
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
