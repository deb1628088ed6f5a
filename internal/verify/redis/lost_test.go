package redis

import (
	"testing"

	goredis "github.com/redis/go-redis/v9"

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
