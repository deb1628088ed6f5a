package redis

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
)

// scanCount is how many keys of the server a step of SCAN looks at.
const scanCount = 1000

// Keys implements [driver.Lister] with SCAN, on every master. It takes the server time in proportion to all keys that it
// holds, in small steps. In a cluster, a key whose slot moves meanwhile may be missed.
func (d *Driver) Keys(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if d.isClosed() {
			yield("", driver.ErrClosed)
			return
		}
		servers, err := d.masters(ctx)
		if err != nil {
			yield("", d.listError(ctx, err))
			return
		}
		match := escapeGlob(d.prefix) + "{*}"
		for _, server := range servers {
			keys := server.Scan(ctx, 0, match, scanCount).Iterator()
			for keys.Next(ctx) {
				key := strings.TrimPrefix(keys.Val(), d.prefix+"{")
				if !yield(key[:len(key)-1], nil) {
					return
				}
			}
			if err := keys.Err(); err != nil {
				yield("", d.listError(ctx, err))
				return
			}
		}
	}
}

func (d *Driver) listError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if d.isClosed() { // meanwhile: Close doesn't wait for whoever walks through the keys
		return driver.ErrClosed
	}
	return &driver.StoreError{Driver: "redis", Doing: "list keys", Remedy: diagnose(err).remedy, Err: err}
}

// masters are the servers that hold keys.
func (d *Driver) masters(ctx context.Context) ([]*redis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var all []*redis.Client
	add := func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return nil
	}
	switch c := d.client.(type) {
	case *redis.Client:
		return []*redis.Client{c}, nil
	case *redis.ClusterClient:
		err := c.ForEachMaster(ctx, add)
		return all, err
	case *redis.Ring:
		err := c.ForEachShard(ctx, add)
		return all, err
	}
	return nil, fmt.Errorf("can't list the servers behind a %T", d.client)
}

// escapeGlob makes a pattern of text that matches nothing else.
func escapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
