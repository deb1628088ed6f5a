package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// TestOneLossIsMended loses a request, then an answer: the driver asks again and finds out what became of it, so the
// caller has no error and no doubt.
func TestOneLossIsMended(t *testing.T) {
	server := testservice.StartRedis(t)
	for _, retries := range []int{-1, 3} {
		proxy := startProxy(t, server.Addr)
		s := onServer(t, server, func(o *goredis.Options) { o.Addr, o.MaxRetries = proxy.Addr(), retries })
		s.do("flushall")
		s.must(1, "k")
		for range 3 {
			for _, kind := range []Kind{LoseRequest, LoseAnswer, HalfAnswer} {
				proxy.Break(Fault{Kind: kind, Match: "eval", Times: 1})
				if err := s.take(1, "k"); err != nil {
					t.Errorf("the client's retries %d, fault %d: %v", retries, kind, err)
				}
				s.taken++
				if proxy.Broken() != 1 {
					t.Errorf("%d exchanges were broken", proxy.Broken())
				}
			}
		}
		s.check("k")
	}
}

// A client that repeats calls by itself loses an answer, and what it sends then is refused. The refusal is about the
// repeat: the call may have been applied before, here it was, so nobody may be told that it wasn't.
func TestRefusedAfterALoss(t *testing.T) {
	for name, change := range map[string][]any{
		"no right any more": {"-@scripting"},
		"another password":  {"resetpass", ">other"},
	} {
		t.Run(name, func(t *testing.T) {
			server := testservice.StartRedis(t)
			proxy := startProxy(t, server.Addr)
			s := onServer(t, server, nil)
			s.do("acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all")
			client := goredis.NewClient(&goredis.Options{
				Addr: proxy.Addr(), Username: "u", Password: "p", MaxRetries: 1,
				Dialer: func(context.Context, string, string) (net.Conn, error) {
					if proxy.Broken() > 0 { // this is the connection for the repeat
						s.do(append([]any{"acl", "setuser", "u"}, change...)...)
					}
					return net.DialTimeout("tcp", proxy.Addr(), time.Second)
				},
			})
			defer client.Close()
			// As programs wrap it: then the driver can't keep it from repeating the first attempt.
			wrapped := struct{ goredis.UniversalClient }{client}
			looks := s.d
			s.d = redis.New(wrapped, &redis.Options{Prefix: "t:", Timeout: 2 * time.Second})
			defer s.d.Close()
			s.must(1, "k")
			proxy.Break(Fault{Kind: LoseAnswer, Match: "eval", Times: 1})
			if err := s.take(2, "k"); !errors.Is(err, driver.ErrUnknownOutcome) {
				t.Errorf("error %v, want ErrUnknownOutcome", err)
			}
			if proxy.Broken() != 1 {
				t.Fatalf("%d exchanges were broken", proxy.Broken())
			}
			s.taken, s.d = s.taken+2, looks
			s.check("k")
		})
	}
}

// An answer is lost, and before the next attempt so many others come that the key no longer remembers the first: the
// driver can't tell whether it was applied, here it was, so it says so and doesn't do it again.
func TestForgottenAfterALoss(t *testing.T) {
	server := testservice.StartRedis(t)
	proxy := startProxy(t, server.Addr)
	s := onServer(t, server, nil)
	var others []driver.Driver
	for range bucket.MaxBatches {
		d := redis.New(s.admin, &redis.Options{Prefix: "t:"})
		t.Cleanup(func() { d.Close() })
		others = append(others, d)
	}
	request := []driver.Request{{Key: "k", Limits: still(t), Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{1}}}}}
	var first sync.Once
	client := goredis.NewClient(&goredis.Options{
		Addr: proxy.Addr(), MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			if proxy.Broken() > 0 { // this is the connection for the next attempt
				first.Do(func() {
					for _, d := range others {
						if _, err := d.Apply(context.Background(), request); err != nil {
							t.Error(err)
						}
						s.taken++
					}
				})
			}
			return net.DialTimeout("tcp", proxy.Addr(), time.Second)
		},
	})
	defer client.Close()
	s.d = redis.New(client, &redis.Options{Prefix: "t:", Timeout: 2 * time.Second})
	defer s.d.Close()
	s.must(1, "k")
	proxy.Break(Fault{Kind: LoseAnswer, Match: "eval", Times: 1})
	if err := s.take(1, "k"); !errors.Is(err, driver.ErrUnknownOutcome) || !strings.Contains(err.Error(), "no longer remembered") {
		t.Errorf("error %v, want ErrUnknownOutcome, and why", err)
	}
	s.taken++
	if want := float64(2 + bucket.MaxBatches); s.taken != want {
		t.Fatalf("%v were taken, want %v: the others didn't come in between", s.taken, want)
	}
	s.check("k")
}

// A server that never answers: the time that an Apply gets is for all its attempts, the first one's too.
func TestTimeoutBoundsEveryAttempt(t *testing.T) {
	proxy := startProxy(t, testservice.StartRedis(t).Addr)
	client := goredis.NewClient(&goredis.Options{Addr: proxy.Addr(), MaxRetries: -1})
	defer client.Close()
	const timeout = 400 * time.Millisecond
	s := &subject{t: t, d: redis.New(client, &redis.Options{Prefix: "t:", Timeout: timeout})}
	defer s.d.Close()
	s.must(1, "k")
	proxy.Break(Fault{Kind: HoldAnswer})
	begin := time.Now()
	err := s.take(1, "k")
	if took := time.Since(begin); took > 2*timeout {
		t.Errorf("Apply took %v, want %v", took, timeout)
	}
	if !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want ErrUnknownOutcome", err)
	}
}
