// Package testservice finds or starts the Redis and the Postgres that tests need, and leaves nothing behind.
//
// [Redis] and [Postgres] return the URL of a server that others may use at the same time: tests take a key prefix
// ([Prefix]) or a schema ([Schema]) of their own. They look, in this order, at THROTTLE_REDIS_URL and
// THROTTLE_POSTGRES_URL, at the default port of this machine, for a binary on PATH to start, and for a Docker that
// answers. Where all of that fails the test is skipped, loudly; with CI=true it fails.
//
// [StartRedis], [StartRedisCluster], [StartRedisSentinel], [StartPostgres] and [StartPostgresPair] start servers of the
// test's own, which it may pause, kill and restart, [NewSmallDisk] gives them a disk that can be filled, and
// [StartRedisWithClock] and [StartPostgresWithClock] a clock that can be set.
//
// A package whose tests use a shared server calls [Main] from its TestMain, so that a server that had to be started
// lives until the last of them.
package testservice
