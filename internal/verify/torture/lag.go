package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// position is how far a server's log was, and whether the server took writes, between two instants.
type position struct {
	asked, told time.Time
	at          int64
	primary     bool
	err         error
}

// server tells its position until it is closed.
type server struct {
	where func(context.Context) (at int64, primary bool, err error)
	close func()
}

// lag watches a primary and its replica while a fault has the replica take over.
type lag struct {
	ends         []func()
	stop         chan struct{}
	work         sync.WaitGroup
	old, replica []position // in time's order
}

// watch looks at both every few milliseconds, from before anybody is at work until it is ended.
func watch(old, replica server) *lag {
	l := &lag{stop: make(chan struct{}), ends: []func(){old.close, replica.close}}
	sample := func(of server, into *[]position) func() {
		return func() {
			for {
				p := position{asked: time.Now()}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				p.at, p.primary, p.err = of.where(ctx)
				cancel()
				p.told = time.Now()
				*into = append(*into, p)
				select {
				case <-l.stop:
					return
				case <-time.After(3 * time.Millisecond):
				}
			}
		}
	}
	l.work.Go(sample(old, &l.old))
	l.work.Go(sample(replica, &l.replica))
	time.Sleep(20 * time.Millisecond) // until both have told where they are
	return l
}

// end ends the watch and says what it has seen: promoted is when the replica had not taken over yet for the last time, and
// lost the time whose answers the replica may not have: from when the old primary was last seen no further than the
// replica came, until when it was first seen as far as it ever came. Nothing is lost if that time is empty.
func (l *lag) end() (promoted time.Time, lost span, err error) {
	close(l.stop)
	l.work.Wait()
	for _, end := range l.ends {
		end()
	}
	return takeover(l.old, l.replica)
}

// takeover is what two servers' positions tell.
func takeover(old, replica []position) (promoted time.Time, lost span, err error) {
	took := slices.IndexFunc(replica, func(p position) bool { return p.err == nil && p.primary })
	came, furthest := int64(-1), int64(-1)
	for _, p := range replica[:max(0, took)] {
		if p.err == nil {
			promoted, came = p.asked, max(came, p.at) // Redis says -1 while it has lost its master
		}
	}
	if came < 0 {
		return promoted, lost, fmt.Errorf("the replica was not seen to take over (%d samples)", len(replica))
	}
	for i, p := range old {
		if p.err != nil || !p.primary {
			continue
		}
		if p.at <= came {
			lost.from = p.asked
		}
		next := i + 1
		further := p.at > furthest
		if further {
			furthest, lost.to = p.at, p.told
		}
		if next < len(old) && (old[next].err != nil || further && !old[next].primary) {
			lost.to = old[next].told // it may have got further before it ended
		}
	}
	if lost.from.IsZero() && len(old) > 0 {
		lost.from = old[0].asked // it was behind all the time
	}
	return promoted, lost, nil
}

// redisLag watches a master and the replica that the sentinels will promote.
func redisLag(s *site) (*lag, error) {
	of := func(addr string) server {
		c := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1, MaxRetries: -1, ContextTimeoutEnabled: true})
		return server{
			where: func(ctx context.Context) (int64, bool, error) {
				role, err := c.Do(ctx, "ROLE").Slice()
				if err != nil {
					return 0, false, err
				}
				at, primary := role[1], role[0] == "master"
				if !primary {
					at = role[4]
				}
				n, ok := at.(int64)
				if !ok {
					return 0, false, fmt.Errorf("a role of %v", role)
				}
				return n, primary, nil
			},
			close: func() { c.Close() },
		}
	}
	return watch(of(s.sentinel.Master.Addr), of(s.sentinel.Replica.Addr)), nil
}

// postgresLag watches a primary and its standby.
func postgresLag(s *site) (*lag, error) {
	of := func(url string) (server, error) {
		c, err := pgx.Connect(context.Background(), url)
		if err != nil {
			return server{}, err
		}
		const where = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn, NOT pg_is_in_recovery()"
		return server{
			where: func(ctx context.Context) (at int64, primary bool, err error) {
				err = c.QueryRow(ctx, where).Scan(&at, &primary)
				return at, primary, err
			},
			close: func() { c.Close(context.Background()) },
		}, nil
	}
	old, err := of(s.pair.Primary.URL)
	if err != nil {
		return nil, err
	}
	replica, err := of(s.pair.Standby.URL)
	if err != nil {
		old.close()
		return nil, err
	}
	return watch(old, replica), nil
}
