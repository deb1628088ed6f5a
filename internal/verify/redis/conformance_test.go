package redis

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
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

// topology is a Redis to conform over.
type topology struct {
	connect func(tb testing.TB, addr string) goredis.UniversalClient // addr is a proxy's, where faults are tried
	prefix  func(tb testing.TB) string
	backend string        // whom to put a proxy before; empty: no faults
	timeout time.Duration // zero is two seconds
}

// store is what a driver under test has its state in.
type store struct {
	*topology
	prefix string
	clock  *settableClock
	proxy  *Proxy
}

func (s *store) open(tb testing.TB) driver.Driver {
	addr := ""
	if s.proxy != nil {
		addr = s.proxy.Addr()
	}
	client := s.connect(tb, addr)
	tb.Cleanup(func() { client.Close() })
	client.AddHook(s.clock)
	return redis.New(client, &redis.Options{Prefix: s.prefix, Timeout: cmp.Or(s.timeout, 2*time.Second)})
}

// conform runs the suite.
func (top *topology) conform(t *testing.T) {
	stores := map[driver.Driver]*store{}
	again := func(tb testing.TB, d driver.Driver) driver.Driver {
		another := stores[d].open(tb)
		stores[another] = stores[d]
		return another
	}
	o := conformance.Options{Another: again, Reopen: again, Complete: top.backend != "", Patience: 40 * time.Second}
	o.SetClock = func(_ testing.TB, d driver.Driver, now bucket.Micros) { stores[d].clock.set(now) }
	if top.backend != "" {
		for name, f := range map[string]Fault{
			"lost request":                {Kind: LoseRequest, Match: "eval"},
			"every third request is lost": {Kind: LoseRequest, Match: "eval", Every: 3},
			"every other answer is lost":  {Kind: LoseAnswer, Match: "eval", Every: 2},
			"lost answer":                 {Kind: LoseAnswer, Match: "eval"},
			"half an answer":              {Kind: HalfAnswer, Match: "eval", Every: 2},
			"requests are held":           {Kind: HoldRequest, Match: "eval"},
			"answers are held":            {Kind: HoldAnswer, Match: "eval"},
			"late answers":                {Kind: DelayAnswer, Match: "eval", Delay: 450 * time.Millisecond},
			"connections are refused":     {Kind: Refuse},
		} {
			o.Faults = append(o.Faults, conformance.Fault{Name: name, Inject: func(_ testing.TB, d driver.Driver) func() {
				p := stores[d].proxy
				p.Break(f)
				return func() { p.Mend(); p.Cut() }
			}})
		}
	}
	conformance.Run(t, func(tb testing.TB) driver.Driver {
		s := &store{topology: top, prefix: top.prefix(tb), clock: &settableClock{}}
		if top.backend != "" {
			s.proxy = startProxy(tb, top.backend)
		}
		d := s.open(tb)
		stores[d] = s
		return d
	}, &o)
}

func TestConformance(t *testing.T) {
	url := testservice.Redis(t)
	shared, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	for _, retries := range []int{-1, 3} {
		t.Run(fmt.Sprintf("client's retries %d", retries), func(t *testing.T) {
			top := topology{
				prefix:  func(tb testing.TB) string { return testservice.Prefix(tb, url) },
				backend: shared.Addr,
			}
			top.connect = func(_ testing.TB, addr string) goredis.UniversalClient {
				o := *shared
				o.Addr, o.MaxRetries, o.ReadTimeout = addr, retries, 400*time.Millisecond
				return goredis.NewClient(&o)
			}
			top.conform(t)
		})
	}
}

func TestConformanceOfMiniredis(t *testing.T) {
	if testing.Short() {
		t.Skip("its Lua is Go's: minutes with the race detector, for which short runs are; real servers are tried then too")
	}
	var server *miniredis.Miniredis
	top := topology{
		connect: func(testing.TB, string) goredis.UniversalClient {
			// The driver doesn't cut this client's first attempt short. A repeat after a second is recognised, but what it
			// peeks at then is later than what the first attempt saw.
			return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{server.Addr()}, MaxRetries: -1, ReadTimeout: time.Minute})
		},
		timeout: time.Minute, // its Lua is Go's, and slow under the race detector
		prefix: func(tb testing.TB) string { // each driver has a server of its own
			server = miniredis.RunT(tb)
			return ""
		},
	}
	top.conform(t)
}

func TestConformanceOfCluster(t *testing.T) {
	cluster := testservice.StartRedisCluster(t, 3, false)
	connect := func(testing.TB, string) goredis.UniversalClient {
		return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs()})
	}
	serial := 0
	top := topology{connect: connect, prefix: func(testing.TB) string { serial++; return fmt.Sprintf("p%d:", serial) }}
	top.conform(t)
}

func TestConformanceOfSentinel(t *testing.T) {
	r := testservice.StartRedisSentinel(t)
	connect := func(testing.TB, string) goredis.UniversalClient {
		return goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: r.Name, SentinelAddrs: r.Addrs(), MaxRetries: -1})
	}
	serial := 0
	top := topology{connect: connect, prefix: func(testing.TB) string { serial++; return fmt.Sprintf("p%d:", serial) }}
	top.conform(t)
}
