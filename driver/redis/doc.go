// Package redis keeps the state of keys in Redis (6.2 or later, Valkey, or what speaks like them): for a fleet of
// processes, with one round trip a request.
//
// # Basics
//
//	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379", MaxRetries: -1})
//	d := redis.New(client, nil)
//
// or, by URL, after importing the package for its side effect:
//
//	d, err := driver.Open(ctx, "redis://localhost:6379?prefix=app:&timeout=2s")
//
// The schemes are redis and rediss (TLS), redis+cluster and rediss+cluster, redis+sentinel and rediss+sentinel:
//
//	redis://user:password@host:6379/0
//	redis+cluster://user:password@host:6379?addr=host2:6379&addr=host3:6379
//	redis+sentinel://user:password@sentinel:26379/mymaster?addrs=sentinel2:26379,sentinel3:26379
//
// Their options are prefix and timeout (see [Options]) and, for redis and redis+cluster, those of go-redis's ParseURL and
// ParseClusterURL; for redis+sentinel, addrs, db, sentinel_username, sentinel_password, pool_size, dial_timeout,
// read_timeout and write_timeout.
//
// A key's state is one string, at the prefix followed by the key in braces, so that whatever the key holds, it has a slot
// of its own in a cluster. One script does all that a request asks, at the server's clock; several requests on one key are
// one call, calls for several keys are one pipeline. Redis forgets a key once it equals one that was never used.
//
// # Lost answers
//
// Each call is named, and the state remembers the names of the newest: when an answer is lost the driver asks again, and
// what was done is not done twice. So it doesn't matter if the client repeats commands by itself, except that after an
// error the driver can then be less sure that nothing was done; MaxRetries: -1 is best, and what [driver.Open] sets.
//
// # Caveats
//
// A server that loses data (a restart without persistence, a failover before the replica had it, an eviction, FLUSHALL)
// starts keys anew, full: [driver.Response.Absent] tells. A Ring spreads keys over servers without agreeing with other
// processes on which are up, and its servers' notifications reach only their own: use a cluster. docs/operating-redis.md
// tells how to run Redis, which rights the driver needs and what to watch.
package redis
