package redis

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/internal/redisscript"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

var (
	callTime = regexp.MustCompile(`cmdstat_evalsha:.*usec_per_call=([0-9.]+)`)
	cpuUser  = regexp.MustCompile(`used_cpu_user:([0-9.]+)`)
	cpuSys   = regexp.MustCompile(`used_cpu_sys:([0-9.]+)`)
)

// serverCPU is what a server of its own has used so far, in seconds.
func serverCPU(b *testing.B, c *redis.Client) float64 {
	b.Helper()
	info, err := c.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	return number(b, cpuUser, info) + number(b, cpuSys, info)
}

func number(b *testing.B, pattern *regexp.Regexp, text string) float64 {
	b.Helper()
	m := pattern.FindStringSubmatch(text)
	if m == nil {
		b.Fatalf("no %v in %q", pattern, text)
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// measure reports what a call costs the server: by its own count of the command, and all of its CPU.
func measure(b *testing.B, c *redis.Client, perCall int, call func(i int) error) {
	b.Helper()
	if err := c.ConfigResetStat(b.Context()).Err(); err != nil {
		b.Fatal(err)
	}
	before := serverCPU(b, c)
	i := 0
	for b.Loop() {
		if err := call(i); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	stats, err := c.Info(b.Context(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(number(b, callTime, stats)/float64(perCall), "command-µs/op")
	b.ReportMetric((serverCPU(b, c)-before)*1e6/float64(i*perCall), "server-µs/op")
}

func BenchmarkScript(b *testing.B) {
	c := redis.NewClient(&redis.Options{Addr: testservice.StartRedis(b).Addr})
	defer c.Close()
	ctx := b.Context()
	limits, err := bucket.NewLimits(
		bucket.Quota{Resource: "requests", Limit: 1e9, Per: bucket.Minute},
		bucket.Quota{Resource: "requests", Limit: 1e12, Per: bucket.Day},
		bucket.Quota{Resource: "tokens", Limit: 1e12, Per: bucket.Minute},
	)
	if err != nil {
		b.Fatal(err)
	}
	load := func(source string) string {
		sha, err := c.ScriptLoad(ctx, source).Result()
		if err != nil {
			b.Fatal(err)
		}
		return sha
	}
	b.Run("bare", func(b *testing.B) {
		sha := load("redis.call('SET', KEYS[1], redis.call('GET', KEYS[1]) or ARGV[1]) return ARGV[1]")
		value := strings.Repeat("x", 200)
		measure(b, c, 1, func(int) error { return c.EvalSha(ctx, sha, []string{"bare"}, value).Err() })
	})
	sha := load(redisscript.Source())
	acquire := bucket.Op{Kind: bucket.Acquire, Cost: []float64{1, 500}, Place: "some-process/some-flow", Flow: "flow", Poll: 1e6, Grace: 1e6}
	credit := bucket.Op{Kind: bucket.Adjust, Cost: []float64{0, 300}, Flow: "flow"}
	call := func(key, client string, i int, ops ...bucket.Op) error {
		r := redisscript.Request{Name: client + "/" + strconv.Itoa(i), Limits: limits, Parts: [][]bucket.Op{ops}}
		return c.EvalSha(ctx, sha, []string{key}, packed(&r, &redisscript.About{})...).Err()
	}
	one := "ABCDEFGHIJKLMNOPQRSTUVWXYZ.1"
	b.Run("acquire", func(b *testing.B) {
		measure(b, c, 1, func(i int) error { return call("acquire", one, i, acquire) })
	})
	b.Run("credit", func(b *testing.B) {
		measure(b, c, 1, func(i int) error { return call("credit", one, i, credit) })
	})
	b.Run("acquire by 8 clients", func(b *testing.B) {
		measure(b, c, 1, func(i int) error { return call("eight", fmt.Sprint(one, i%8), i, acquire) })
	})
	b.Run("acquire by 40 clients", func(b *testing.B) {
		measure(b, c, 1, func(i int) error { return call("forty", fmt.Sprint(one, i%40), i, acquire) })
	})
	b.Run("64 acquires", func(b *testing.B) {
		ops := make([]bucket.Op, 64)
		for i := range ops {
			ops[i] = acquire
		}
		measure(b, c, 64, func(i int) error { return call("many", one, i, ops...) })
	})
	b.Run("general", func(b *testing.B) {
		none := bucket.Op{Kind: bucket.Leave, Place: "x"}
		measure(b, c, 1, func(i int) error { return call("general", one, i, acquire, none) })
	})
	b.Run("line of 8", func(b *testing.B) {
		full := bucket.Op{Kind: bucket.Acquire, Cost: []float64{1e9}}
		if err := call("line", one, 0, full); err != nil {
			b.Fatal(err)
		}
		for i := range 8 {
			o := acquire
			o.Place, o.Flow, o.Cost, o.Poll, o.Grace = fmt.Sprint("place", i), fmt.Sprint("flow", i), []float64{1e9}, 3600e6, 3600e6
			if err := call("line", fmt.Sprint("c", i), 0, o); err != nil {
				b.Fatal(err)
			}
		}
		measure(b, c, 1, func(i int) error {
			o := acquire
			o.Place, o.Flow, o.Cost, o.Poll, o.Grace = fmt.Sprint("place", i%8), fmt.Sprint("flow", i%8), []float64{1e9}, 3600e6, 3600e6
			return call("line", fmt.Sprint("c", i%8), i+1, o)
		})
	})
}
