package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// evaluated is how often the server has run a script.
func (s *subject) evaluated() int {
	s.t.Helper()
	info, err := s.admin.Info(context.Background(), "commandstats").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	_, after, _ := strings.Cut(info, "cmdstat_evalsha:calls=")
	calls, _, _ := strings.Cut(after, ",")
	n, _ := strconv.Atoi(calls)
	return n
}

// A client that repeats calls by itself is answered the second time, while its first sending is still on its way. It
// arrives when the driver has sent something else: it must not count as new.
func TestFirstSendingArrivesLate(t *testing.T) {
	for name, open := range map[string]func(addr string) goredis.UniversalClient{
		"plain": func(addr string) goredis.UniversalClient {
			return goredis.NewClient(&goredis.Options{Addr: addr, ReadTimeout: 200 * time.Millisecond})
		},
		"wrapped": func(addr string) goredis.UniversalClient {
			return struct{ goredis.UniversalClient }{goredis.NewClient(&goredis.Options{Addr: addr, ReadTimeout: 200 * time.Millisecond})}
		},
		"ring": func(addr string) goredis.UniversalClient {
			return goredis.NewRing(&goredis.RingOptions{Addrs: map[string]string{"one": addr}, ReadTimeout: 200 * time.Millisecond})
		},
		"cluster": func(addr string) goredis.UniversalClient {
			return goredis.NewClusterClient(&goredis.ClusterOptions{
				ContextTimeoutEnabled: true, ReadTimeout: 200 * time.Millisecond,
				ClusterSlots: func(context.Context) ([]goredis.ClusterSlot, error) {
					return []goredis.ClusterSlot{{Start: 0, End: 16383, Nodes: []goredis.ClusterNode{{Addr: addr}}}}, nil
				},
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testservice.StartRedis(t)
			proxy := startProxy(t, server.Addr)
			s := onServer(t, server, nil)
			looks := s.d
			client := open(proxy.Addr())
			defer client.Close()
			s.d = redis.New(client, &redis.Options{Prefix: "t:"})
			defer s.d.Close()
			s.must(10, "k")
			before := s.evaluated()
			proxy.Break(Fault{Kind: DelayRequest, Match: "evalsha", Times: 1, Delay: time.Second})
			s.must(5, "k") // sent twice, answered once
			s.must(1, "k")
			if n := s.evaluated() - before; n != 2 {
				t.Fatalf("the server ran %d scripts, want 2: the first sending isn't late", n)
			}
			eventually(t, "the first sending to arrive", func() bool { return s.evaluated()-before == 3 })
			s.d = looks
			s.check("k")
		})
	}
}

// The servers of a cluster have clocks that stand apart. One whose clock is ahead has just answered when a call goes to
// another and its answer is lost, and so many others come that the key forgets it: the driver mustn't take it for one
// that was never applied.
func TestServersClocksStandApart(t *testing.T) {
	ahead, clock, err := testservice.StartRedisWithClock(t)
	if err != nil {
		t.Skip(err)
	}
	clock.Step(500 * time.Millisecond)
	server := testservice.StartRedis(t)
	proxy := startProxy(t, server.Addr)
	s := onServer(t, server, nil)
	looks := s.d
	var others []driver.Driver
	for range bucket.MaxBatches {
		d := redis.New(s.admin, &redis.Options{Prefix: "t:"})
		t.Cleanup(func() { d.Close() })
		others = append(others, d)
	}
	client := goredis.NewRing(&goredis.RingOptions{
		Addrs: map[string]string{"ahead": ahead.Addr, "behind": proxy.Addr()}, MaxRetries: -1, ReadTimeout: time.Second,
	})
	defer client.Close()
	s.d = redis.New(client, &redis.Options{Prefix: "t:"})
	defer s.d.Close()
	key := map[bool]string{} // one on the server ahead, one on the other
	for i := range 100 {
		name := "k" + strconv.Itoa(i)
		if err := s.take(1, name); err != nil {
			t.Fatal(err)
		}
		n, err := s.admin.Exists(t.Context(), "t:{"+name+"}").Result()
		if err != nil {
			t.Fatal(err)
		}
		key[n == 0] = name
	}
	s.taken = 1
	if err := s.take(1, key[true]); err != nil { // the server ahead answers
		t.Fatal(err)
	}
	before := s.evaluated()
	proxy.Break(Fault{Kind: HoldAnswer, Match: "eval", Times: 1})
	answered := make(chan error)
	go func() { answered <- s.take(1, key[false]) }()
	s.taken++
	eventually(t, "the call to be carried out", func() bool { return s.evaluated() > before })
	request := []driver.Request{{Key: key[false], Limits: still(t), Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{1}}}}}
	for _, d := range others {
		if _, err := d.Apply(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		s.taken++
	}
	if err := <-answered; !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want ErrUnknownOutcome", err)
	}
	s.d = looks
	s.check(key[false])
}

// A batch of many keys is one client's to each of them: another process that makes such batches is one of those that a
// key remembers, however many keys it asks for at once.
func TestManyKeysAreOneClient(t *testing.T) {
	server := testservice.StartRedis(t)
	s := onServer(t, server, nil)
	all := keys(2 * bucket.MaxBatches)
	for i := range all {
		batch := append(append([]string{}, all[i:]...), all[:i]...) // each key at each place
		if err := s.take(1, batch...); err != nil {
			t.Fatal(err)
		}
	}
	responses, err := s.d.Apply(t.Context(), []driver.Request{{Key: all[0], Limits: still(t), Ops: []bucket.Op{{Kind: bucket.Peek}}}})
	if err != nil {
		t.Fatal(err)
	}
	if state := responses[0].Results[0].State; len(state.Batches) != 1 || state.Forgotten != 0 {
		t.Errorf("the key remembers %d clients, forgot one at %d: want the one there is", len(state.Batches), state.Forgotten)
	}
}

// Nobody answers SUBSCRIBE: who asked is told as soon as the time is over, or the driver is closed.
func TestSubscribeIsNotAnswered(t *testing.T) {
	server := testservice.StartRedis(t)
	proxy := startProxy(t, server.Addr)
	client := goredis.NewClient(&goredis.Options{Addr: proxy.Addr(), MaxRetries: -1})
	defer client.Close()
	proxy.Break(Fault{Kind: HoldAnswer, Match: "subscribe"})
	d := redis.New(client, &redis.Options{Prefix: "t:"})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	subscribe := func(ctx context.Context) chan error {
		done := make(chan error, 1)
		go func() {
			_, err := d.Notify(ctx, func(string, string) {})
			done <- err
		}()
		return done
	}
	within := func(what string, done chan error, want error) {
		t.Helper()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: nothing after 10 s", what)
		}
	}
	within("a ctx that ends", subscribe(ctx), context.DeadlineExceeded)
	again := subscribe(t.Context())
	eventually(t, "the second SUBSCRIBE to be sent", func() bool { return proxy.Broken() == 2 })
	closed := make(chan error, 1)
	go func() { closed <- d.Close() }()
	within("a driver that is closed", again, driver.ErrClosed)
	within("Close", closed, nil)
}
