package redis

import (
	"context"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/conformance"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/redisscript"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// settableClock is a hook of a client: it replaces the server's clock, once it is set, in every call of the script.
type settableClock struct {
	mu  sync.Mutex
	now *bucket.Micros
}

func (c *settableClock) set(now bucket.Micros) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = &now
}

func (c *settableClock) tell(cmd goredis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, arg := range cmd.Args() {
		if about, ok := arg.(*redisscript.About); ok {
			about.Now = c.now
		}
	}
}

func (c *settableClock) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (c *settableClock) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.tell(cmd)
		return next(ctx, cmd)
	}
}

func (c *settableClock) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		for _, cmd := range cmds {
			c.tell(cmd)
		}
		return next(ctx, cmds)
	}
}

// store is what a driver under test has its state in.
type store struct {
	connect func(testing.TB) goredis.UniversalClient
	prefix  string
	clock   *settableClock
}

func (s *store) open(tb testing.TB) driver.Driver {
	client := s.connect(tb)
	client.AddHook(s.clock)
	return redis.New(client, &redis.Options{Prefix: s.prefix})
}

// conform runs the suite over what connect connects to. sweep deletes a prefix's keys.
func conform(t *testing.T, connect func(testing.TB) goredis.UniversalClient, newPrefix func(testing.TB) string, o conformance.Options) {
	stores := map[driver.Driver]*store{}
	again := func(tb testing.TB, d driver.Driver) driver.Driver {
		s := stores[d]
		another := s.open(tb)
		stores[another] = s
		return another
	}
	o.Another, o.Reopen = again, again
	o.SetClock = func(_ testing.TB, d driver.Driver, now bucket.Micros) { stores[d].clock.set(now) }
	conformance.Run(t, func(tb testing.TB) driver.Driver {
		s := &store{connect: connect, prefix: newPrefix(tb), clock: &settableClock{}}
		d := s.open(tb)
		stores[d] = s
		return d
	}, &o)
}

func TestConformance(t *testing.T) {
	url := testservice.Redis(t)
	conform(t, func(tb testing.TB) goredis.UniversalClient { return connect(tb) },
		func(tb testing.TB) string { return testservice.Prefix(tb, url) }, conformance.Options{})
}
