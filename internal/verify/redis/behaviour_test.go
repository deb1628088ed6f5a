package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func split(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}

// apply applies one request that must succeed.
func apply(t testing.TB, d driver.Driver, key string, l *bucket.Limits, ops ...bucket.Op) driver.Response {
	t.Helper()
	responses, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: l, Ops: ops}})
	if err != nil {
		t.Fatal(err)
	}
	return responses[0]
}

func limitsOf(t testing.TB, quotas ...bucket.Quota) *bucket.Limits {
	t.Helper()
	l, err := bucket.NewLimits(quotas...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestOneCommandARequest counts the commands of clients, with any number of buckets.
func TestOneCommandARequest(t *testing.T) {
	if testing.Short() {
		t.Skip("go-redis's Monitor races with its own pool, and short runs are for the race detector")
	}
	server := testservice.StartRedis(t)
	s := onServer(t, server, nil)
	commands := make(chan string, 1000)
	watcher := goredis.NewClient(&goredis.Options{Addr: server.Addr, ReadTimeout: -1})
	defer watcher.Close()
	apply(t, s.d, "k", nil) // the first of all asks for the time
	monitor := watcher.Monitor(t.Context(), commands)
	monitor.Start()
	eventually(t, "monitoring", func() bool { s.do("echo", "begin"); return len(commands) > 0 })
	for _, n := range []int{1, 3, 12} {
		var quotas []bucket.Quota
		for i := range n {
			quotas = append(quotas, bucket.Quota{Resource: fmt.Sprint("r", i), Limit: 1000, Per: bucket.Minute})
		}
		l := limitsOf(t, quotas...)
		cost := slices.Repeat([]float64{1}, n)
		apply(t, s.d, "k", l, bucket.Op{Kind: bucket.Acquire, Cost: cost})
		s.do("echo", "from here")
		apply(t, s.d, "k", l, bucket.Op{Kind: bucket.Acquire, Cost: cost, Place: "p", Poll: bucket.Second})
		apply(t, s.d, "k", l, bucket.Op{Kind: bucket.Adjust, Cost: cost})
		s.do("echo", "to here")
		var seen []string
		for line := ""; !strings.Contains(line, `"to here"`); {
			line = <-commands
			switch {
			case strings.Contains(line, `"from here"`):
				seen = nil
			case !strings.Contains(line, " lua]") && !strings.Contains(line, `"to here"`) && !strings.Contains(line, `"hello"`):
				seen = append(seen, line)
			}
		}
		if len(seen) != 2 {
			t.Errorf("with %d buckets, an acquire and a settle are %d commands: %q", n, len(seen), seen)
		}
	}
}

// TestExpiry wants Redis to forget a key once it equals an absent one, or never; and if later, then by no more than a
// fifteenth of the time till then and half a second.
func TestExpiry(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	l := limitsOf(t,
		bucket.Quota{Resource: "a", Limit: 7, Per: bucket.Minute},
		bucket.Quota{Resource: "b", Limit: 1000, Per: bucket.Day},
	)
	for _, c := range []struct {
		name string
		ops  []bucket.Op
	}{
		{"full but for a batch", []bucket.Op{{Kind: bucket.Leave, Place: "p"}}},
		{"taken from", []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{3, 500}}}},
		{"taken from a little", []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{0, 0.001}}}},
		{"a debt", []bucket.Op{{Kind: bucket.Record, Cost: []float64{0, 123456.789}}}},
		{"somebody waits", []bucket.Op{{Kind: bucket.Record, Cost: []float64{7}}, {Kind: bucket.Acquire, Cost: []float64{1}, Place: "p", Grace: bucket.Hour}}},
		{"blocked", []bucket.Op{{Kind: bucket.Block, Span: 3 * bucket.Hour}}},
		{"overridden", []bucket.Op{{Kind: bucket.SetLimit, Quota: 0, Limit: 3}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := c.name
			before := time.Duration(0) // when it was to expire
			for i := range 40 {        // by the general way, and where it can by the quick one
				res := apply(t, s.d, key, l, c.ops...)
				want, most := time.Duration(-1), time.Duration(0)
				if res.AbsentAt != bucket.Forever {
					want = time.Duration(math.Ceil(float64(res.AbsentAt)/1000)) * time.Millisecond
					most = (res.AbsentAt-res.Now).Duration()/15 + 540*time.Millisecond
				}
				got, err := s.admin.PExpireTime(t.Context(), "t:{"+key+"}").Result()
				if late := got - want; err != nil || late < 0 || late > most {
					t.Errorf("request %d: it expires at %d, want %d (%v)", i, got, want, err)
				}
				// To move an expiry costs the server as much as the rest of a request.
				if serves := before >= want && before <= want+most/2; i > 0 && serves && got != before {
					t.Errorf("request %d: it expires at %d, want %d, as before it, since it is to be from %d to %d", i, got, before, want, want+most)
				}
				before = got
			}
		})
	}
	// A request that leaves nothing behind leaves no key behind.
	apply(t, s.d, "peek", l, bucket.Op{Kind: bucket.Peek})
	if n := s.admin.Exists(t.Context(), "t:{peek}").Val(); n != 0 {
		t.Error("peeking made a key")
	}
}

// TestStateLost wants to be told where the state went.
func TestStateLost(t *testing.T) {
	server := testservice.StartRedis(t)
	s := onServer(t, server, nil)
	l := still(t)
	lose := map[string]func(){
		"flushed":                       func() { s.do("flushall") },
		"restarted without persistence": func() { server.Restart() },
	}
	for name, lost := range lose {
		apply(t, s.d, name, l, bucket.Op{Kind: bucket.Record, Cost: []float64{5}})
		if res := apply(t, s.d, name, l, bucket.Op{Kind: bucket.Peek}); res.Absent {
			t.Errorf("%s: absent before", name)
		}
		lost()
		if res := apply(t, s.d, name, l, bucket.Op{Kind: bucket.Record, Cost: []float64{5}}); !res.Absent {
			t.Errorf("%s: the loss isn't told", name)
		}
	}
	kept := onServer(t, testservice.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always"), nil)
	kept.must(5, "a")
	kept.server.Kill()
	kept.server.Restart()
	kept.check("a")
}

// TestNotificationIsPrompt measures the time from a credit in one process to the call in another.
func TestNotificationIsPrompt(t *testing.T) {
	cluster := testservice.StartRedisCluster(t, 3, false)
	for name, connect := range map[string]func() goredis.UniversalClient{
		"standalone": func() goredis.UniversalClient { return connect(t) },
		"cluster": func() goredis.UniversalClient {
			return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs(), ContextTimeoutEnabled: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			clients := []goredis.UniversalClient{connect(), connect()}
			options := &redis.Options{Prefix: testservice.Prefix(t, testservice.Redis(t))}
			waits, credits := redis.New(clients[0], options), redis.New(clients[1], options)
			t.Cleanup(func() {
				waits.Close()
				credits.Close()
				testservice.DeleteKeys(context.Background(), clients[1], options.Prefix)
				clients[0].Close()
				clients[1].Close()
			})
			told := make(chan string, 100)
			stop, err := waits.Notify(t.Context(), func(key, place string) { told <- key + " " + place })
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			l := still(t)
			var took []time.Duration
			for i := range 101 {
				key := fmt.Sprint("key", i)
				apply(t, credits, key, l, bucket.Op{Kind: bucket.Record, Cost: []float64{unitsAtFirst}})
				apply(t, waits, key, l, bucket.Op{Kind: bucket.Acquire, Cost: []float64{5}, Place: "p", Poll: bucket.Minute, Grace: bucket.Minute})
				begin := time.Now()
				apply(t, credits, key, l, bucket.Op{Kind: bucket.Adjust, Cost: []float64{5}})
				if got := <-told; got != key+" p" {
					t.Fatalf("told of %q", got)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			t.Logf("median %v, 99th %v", took[50], took[99])
			if took[50] > 50*time.Millisecond {
				t.Errorf("the median is %v", took[50])
			}
		})
	}
}

// TestCloseWhileKeysAreListed wants no hang, and an error at most.
func TestCloseWhileKeysAreListed(t *testing.T) {
	server := testservice.StartRedis(t)
	d, err := driver.Open(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		apply(t, d, fmt.Sprint("key", i), nil, bucket.Op{Kind: bucket.Block, Span: bucket.Hour})
	}
	seen := 0
	for _, err := range d.(driver.Lister).Keys(t.Context()) {
		if err != nil {
			if !errors.Is(err, driver.ErrClosed) {
				t.Error(err)
			}
			break
		}
		if seen++; seen == 1 {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if seen == 0 || seen == 3000 {
		t.Errorf("%d keys were listed", seen)
	}
}

// TestKeysOfEveryServer wants the keys of all servers that a client spreads them over, each once.
func TestKeysOfEveryServer(t *testing.T) {
	one, two := testservice.StartRedis(t), testservice.StartRedis(t)
	ring := goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"one": one.Addr, "two": two.Addr}})
	defer ring.Close()
	d := redis.New(ring, nil)
	defer d.Close()
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("key %02d", i))
		apply(t, d, want[i], nil, bucket.Op{Kind: bucket.Block, Span: bucket.Hour})
	}
	got := []string{}
	for key, err := range d.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, key)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	for _, addr := range []string{one.Addr, two.Addr} {
		client := goredis.NewClient(&goredis.Options{Addr: addr})
		defer client.Close()
		if n, err := client.DBSize(t.Context()).Result(); err != nil || n == 0 || n == 100 {
			t.Errorf("one server has %d keys (%v): the ring didn't spread them", n, err)
		}
	}
}

// TestKeysOfAnotherClient wants a refusal that names the client: nothing says which servers are behind it.
func TestKeysOfAnotherClient(t *testing.T) {
	type wrapper struct{ goredis.UniversalClient }
	d := redis.New(wrapper{connect(t)}, nil)
	defer d.Close()
	for key, err := range d.Keys(t.Context()) {
		var store *driver.StoreError
		if !errors.As(err, &store) || !strings.Contains(err.Error(), "wrapper") {
			t.Errorf("key %q, error %v, want a StoreError that names the client's type", key, err)
		}
	}
}
