package redis_test

import (
	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/redis"
)

// With a client that the program has already; its keys get a prefix of their own.
func ExampleNew() {
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	d := redis.New(client, &redis.Options{Prefix: "limits:"})
	defer d.Close()
	lim := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 500), throttle.PerMinute("tokens", 200_000)))
	defer lim.Close()
}
