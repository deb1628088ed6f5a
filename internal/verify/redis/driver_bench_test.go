package redis

import (
	"strconv"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// BenchmarkDriver is what Apply costs, beside a bare EVALSHA that reads and writes one string.
func BenchmarkDriver(b *testing.B) {
	server := testservice.StartRedis(b)
	c := goredis.NewClient(&goredis.Options{Addr: server.Addr, MaxRetries: -1})
	defer c.Close()
	ctx := b.Context()
	b.Run("bare", func(b *testing.B) {
		sha, err := c.ScriptLoad(ctx, "redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) or ARGV[1]) return ARGV[1]").Result()
		if err != nil {
			b.Fatal(err)
		}
		value := strings.Repeat("x", 200)
		measure(b, c, 1, func(int) error { return c.EvalSha(ctx, sha, []string{"bare"}, value).Err() })
	})
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day},
		bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
	)
	if err != nil {
		b.Fatal(err)
	}
	d := redis.New(c, nil)
	defer d.Close()
	acquire := bucket.Op{Kind: bucket.Acquire, Cost: []float64{1, 500}, Place: "some-process/some-flow", Flow: "flow", Poll: 1e6, Grace: 1e6}
	credit := bucket.Op{Kind: bucket.Adjust, Cost: []float64{0, 300}, Flow: "flow"}
	b.Run("acquire, settle", func(b *testing.B) {
		ops := []bucket.Op{acquire, credit}
		measure(b, c, 1, func(i int) error {
			_, err := d.Apply(ctx, []driver.Request{{Key: "k", Limits: limits, Ops: ops[i%2 : i%2+1]}})
			return err
		})
	})
	b.Run("64 keys", func(b *testing.B) {
		batch := make([]driver.Request, 64)
		for i := range batch {
			batch[i] = driver.Request{Key: "key" + strconv.Itoa(i), Limits: limits, Ops: []bucket.Op{acquire}}
		}
		measure(b, c, len(batch), func(int) error {
			_, err := d.Apply(ctx, batch)
			return err
		})
	})
	b.Run("64 requests on a key", func(b *testing.B) {
		batch := make([]driver.Request, 64)
		for i := range batch {
			batch[i] = driver.Request{Key: "k", Limits: limits, Ops: []bucket.Op{acquire}}
		}
		measure(b, c, len(batch), func(int) error {
			_, err := d.Apply(ctx, batch)
			return err
		})
	})
}
