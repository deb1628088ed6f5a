package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-redis/redis_rate/v10"
	goredis "github.com/redis/go-redis/v9"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"
	ulule "github.com/ulule/limiter/v3"
	ululeredis "github.com/ulule/limiter/v3/drivers/store/redis"

	"github.com/tokenthrottle/throttle/driver/redis"
)

// redisSide gives a side a client of its own, with the client's own defaults, on a database that is emptied first.
func redisSide(make func(c *goredis.Client) (side, error)) func() (side, error) {
	return func() (side, error) {
		url, err := redisServer.url()
		if err != nil {
			return side{}, err
		}
		o, err := goredis.ParseURL(url)
		if err != nil {
			return side{}, err
		}
		c := goredis.NewClient(o)
		s, err := make(c)
		if err != nil {
			c.Close()
			return side{}, err
		}
		closeSide := s.close
		s.close = func() {
			if closeSide != nil {
				closeSide()
			}
			c.FlushDB(context.Background())
			c.Close()
		}
		return s, nil
	}
}

func redisOurs(keys int, settle bool) func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		return limiter(redis.New(c, nil), keys, settle), nil
	})
}

var (
	rateLimits = [...]redis_rate.Limit{
		{Rate: requestsPerMinute, Period: time.Minute, Burst: requestBurst},
		{Rate: tokensPerMinute, Period: time.Minute, Burst: tokenBurst},
		{Rate: requestsPerDay, Period: 24 * time.Hour, Burst: requestBurst},
	}
	rateAmounts = [...]int{1, reservedTokens, 1}
	rateSuffix  = [...]string{":requests:minute", ":tokens:minute", ":requests:day"}
)

// rateCalls calls redis_rate for the first so many of the three buckets, one after the other.
func rateCalls(calls, keys int, name string) func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		l, models, ctx := redis_rate.NewLimiter(c), names(keys), context.Background()
		return side{
			name: name,
			run: func(g, n int) error {
				for i := range n {
					model := models[next(g, i, keys)]
					for b := range calls {
						res, err := l.AllowN(ctx, model+rateSuffix[b], rateLimits[b], rateAmounts[b])
						if err != nil {
							return err
						}
						if res.Allowed == 0 {
							return errRefused
						}
					}
				}
				return nil
			},
		}, nil
	})
}

// recorder keeps the arguments of the last command that it saw.
type recorder struct{ args []any }

func (r *recorder) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (r *recorder) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return next
}
func (r *recorder) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		r.args = append([]any(nil), cmd.Args()...)
		return next(ctx, cmd)
	}
}

// ratePipelined sends the three calls that redis_rate makes in one pipeline. redis_rate itself has no such thing, so its
// calls are recorded and sent again.
func ratePipelined(keys int) func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		models, ctx := names(keys), context.Background()
		recorded := goredis.NewClient(c.Options())
		defer recorded.Close()
		rec := new(recorder)
		recorded.AddHook(rec)
		var calls [3][]any
		for b := range calls {
			for range 2 { // the first call may have had to load the script
				if _, err := redis_rate.NewLimiter(recorded).AllowN(ctx, "record"+rateSuffix[b], rateLimits[b], rateAmounts[b]); err != nil {
					return side{}, err
				}
			}
			calls[b] = rec.args
		}
		const keyArg = 3 // EVALSHA, hash, number of keys, key
		prefix := strings.TrimSuffix(calls[0][keyArg].(string), "record"+rateSuffix[0])
		return side{
			name: "3 × redis_rate in one pipeline",
			run: func(g, n int) error {
				for i := range n {
					model := models[next(g, i, keys)]
					pipe := c.Pipeline()
					for b := range calls {
						args := append([]any(nil), calls[b]...)
						args[keyArg] = prefix + model + rateSuffix[b]
						pipe.Do(ctx, args...)
					}
					answers, err := pipe.Exec(ctx)
					if err != nil {
						return err
					}
					for _, a := range answers {
						if values, err := a.(*goredis.Cmd).Slice(); err != nil || values[0].(int64) == 0 {
							return errors.Join(err, errRefused)
						}
					}
				}
				return nil
			},
		}, nil
	})
}

func throttledRedis() func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		store, err := goredisstore.NewCtx(c, "throttled:")
		if err != nil {
			return side{}, err
		}
		return throttledOn(store, "3 × throttled")
	})
}

func ululeRedis() func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		store, err := ululeredis.NewStoreWithOptions(c, ulule.StoreOptions{Prefix: "ulule"})
		if err != nil {
			return side{}, err
		}
		return ululeOn(store, "3 × ulule/limiter"), nil
	})
}

// bareScript reads and writes one string: the least that a script with state can do.
var bareScript = goredis.NewScript(`local s = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return s`)

func bareEvalSHA() func() (side, error) {
	return redisSide(func(c *goredis.Client) (side, error) {
		ctx := context.Background()
		sha, err := bareScript.Load(ctx, c).Result()
		if err != nil {
			return side{}, err
		}
		value := strings.Repeat("x", 150) // about a state of three buckets
		return side{
			name: "a bare EVALSHA, reading and writing one string",
			run: func(_, n int) error {
				for range n {
					if err := c.EvalSha(ctx, sha, []string{"bare"}, value).Err(); err != nil && !errors.Is(err, goredis.Nil) {
						return err
					}
				}
				return nil
			},
		}, nil
	})
}

// serverCPU makes a side's time the processor time that the server takes for it.
func serverCPU(goroutines int, make func() (side, error)) func() (side, error) {
	return func() (side, error) {
		s, err := make()
		if err != nil {
			return s, err
		}
		url, _ := redisServer.url()
		o, err := goredis.ParseURL(url)
		if err != nil {
			return s, err
		}
		c := goredis.NewClient(o)
		closeSide, run := s.close, s.run
		s.close = func() { c.Close(); closeSide() }
		s.turn = func(n int) (time.Duration, error) {
			before, err := usedCPU(c)
			if err != nil {
				return 0, err
			}
			if _, err := timed(side{run: run}, goroutines, n); err != nil {
				return 0, err
			}
			after, err := usedCPU(c)
			return after - before, err
		}
		return s, nil
	}
}

// usedCPU is the processor time that the server has taken, user and system.
func usedCPU(c *goredis.Client) (time.Duration, error) {
	info, err := c.Info(context.Background(), "cpu").Result()
	if err != nil {
		return 0, err
	}
	var sum float64
	found := 0
	for line := range strings.SplitSeq(info, "\r\n") {
		key, value, _ := strings.Cut(line, ":")
		if key != "used_cpu_user" && key != "used_cpu_sys" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		sum += seconds
		found++
	}
	if found != 2 {
		return 0, fmt.Errorf("INFO cpu doesn't tell the time used: %q", info)
	}
	return time.Duration(sum * float64(time.Second)), nil
}

func redisContests() []contest {
	const turn = 200 * time.Millisecond
	cpu := func(goroutines int, name string) contest {
		return contest{
			name: name, goroutines: goroutines, keys: 1, budget: 300 * time.Millisecond,
			ours: serverCPU(goroutines, redisOurs(1, false)), other: serverCPU(goroutines, bareEvalSHA()),
		}
	}
	cpu1, cpu64 := cpu(1, "redis-cpu"), cpu(64, "redis-cpu-64")
	cpu1.goal = 1.5
	return []contest{
		{
			name: "redis-hot-64", goroutines: 64, keys: 1, goal: 0.1, budget: turn,
			ours: redisOurs(1, false), other: rateCalls(3, 1, "3 × redis_rate"), floorSide: bareEvalSHA(),
			peers: []func() (side, error){throttledRedis(), ululeRedis()},
		},
		{
			name: "redis-hot-64-one", goroutines: 64, keys: 1, goal: 0.25, budget: turn,
			ours: redisOurs(1, false), other: rateCalls(1, 1, "1 × redis_rate"), floorSide: bareEvalSHA(),
		},
		{
			name: "redis-10k-64", goroutines: 64, keys: 10_000, goal: 0.5, budget: turn,
			ours: redisOurs(10_000, false), other: ratePipelined(10_000), floorSide: bareEvalSHA(),
		},
		{
			name: "redis-hot-1", goroutines: 1, keys: 1, goal: 1.3, budget: turn,
			ours: redisOurs(1, false), other: bareEvalSHA(), floorSide: bareEvalSHA(),
		},
		cpu1, cpu64,
	}
}
