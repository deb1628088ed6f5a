package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/fallback"
)

// downs are a store that is down, with each choice of what to do then.
func downs() []fault {
	stop := func(s *site) error { s.server.Stop(); return nil }
	start := func(s *site) error { s.server.Restart(); return nil }
	var changes atomic.Int64
	both := &fallback.Options{Processes: 2, Retry: 200 * time.Millisecond, Patience: time.Second, OnChange: func(error) { changes.Add(1) }}
	told := felt{changed: func(*site) (string, error) { return fmt.Sprint(changes.Load(), " changes told"), nil }}
	return []fault{
		{name: "store down: fail closed", begin: stop, end: start, down: nothing, felt: felt{silent: true, failing: true, changed: process}},
		{name: "store down: a local share", begin: stop, end: start, down: local, felt: told,
			standIn: func(d driver.Driver) driver.Driver { return fallback.Share(d, both) }},
		{name: "store down: fail open", begin: stop, end: start, down: everything, felt: told,
			standIn: func(d driver.Driver) driver.Driver { return fallback.Open(d, both) }},
	}
}

// outageLasts is how long a store is down at least: longer than a call that began before may take.
const outageLasts = 3 * time.Second

// judge says what is wrong with what was granted while the store was down, for so long.
func (o outage) judge(l *ledger, lasted time.Duration) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.outage
	part := tight.Limit*lasted.Seconds() + wholeCosts
	switch {
	case o == nothing && got.granted > 0:
		return fmt.Sprintf("%d calls were granted while the store was down", got.granted)
	case o == nothing && got.failed == 0:
		return "no call ended with an error while the store was down"
	case o == local && got.tight == 0:
		return "nothing was granted while the store was down"
	case o == local && got.tight > part:
		return fmt.Sprintf("%g tokens were granted in %v of outage, want %g at most", got.tight, lasted, part)
	case o == nothing && got.foreign != nil:
		return fmt.Sprintf("a call failed with %v, which is no *throttle.StoreError", got.foreign)
	case o == everything && got.tight <= part:
		return fmt.Sprintf("%g tokens were granted in %v of outage, no more than the quota allows", got.tight, lasted)
	case o == everything && (got.granted == 0 || got.failed > 2*callers):
		return fmt.Sprintf("%d calls were granted and %d failed while the store was down", got.granted, got.failed)
	}
	return ""
}

// orderFailover has the sentinels fail over a master that is well.
func orderFailover(s *site) error {
	c := redis.NewClient(&redis.Options{Addr: s.sentinel.Sentinels[0].Addr})
	defer c.Close()
	return c.Do(context.Background(), "SENTINEL", "FAILOVER", s.sentinel.Name).Err()
}

// waitFailover waits until the sentinels lead to another master, which takes writes.
func waitFailover(s *site) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		sentinel := redis.NewSentinelClient(&redis.Options{Addr: s.sentinel.Sentinels[0].Addr})
		addr, err := sentinel.GetMasterAddrByName(ctx, s.sentinel.Name).Result()
		sentinel.Close()
		if last = err; err == nil {
			if master := strings.Join(addr, ":"); master != s.sentinel.Master.Addr {
				c := redis.NewClient(&redis.Options{Addr: master})
				role, err := c.Do(ctx, "ROLE").Slice()
				c.Close()
				if last = err; err == nil && role[0] == "master" {
					return nil
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(errors.New("the sentinels don't fail over"), last)
}
