package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

// fault is one way in which a store or the way to it breaks, and how it is mended.
type fault struct {
	name string
	// site makes a store of the fault's own for each run; nil: the driver's usual one will do. Where it survives the fault,
	// mended says so, and faults of the same site that follow each other use one.
	site   func(testing.TB) (*site, error)
	mended bool
	// begin breaks it; end mends it. Nil ends do nothing.
	begin, end func(s *site) error
	felt       felt
	// places says that the proxy strikes at each place of a connection's life: the fault lasts until it has.
	places bool
	// amnesia says that the store forgets its state: the books start anew, and a hook must tell.
	amnesia bool
	// lag watches a store that replicates behind its answers: what may be forgotten of them. Nil: nothing.
	lag func(*site) (*lag, error)
	// ahead is how far the fault sets the store's clock ahead: as much may refill at once.
	ahead time.Duration
	// Of a store that is down: what stands in for it, how long it takes to be ready to, and what must have been granted
	// meanwhile.
	standIn func(driver.Driver) driver.Driver
	warm    time.Duration
	down    outage
}

// outage is what is granted while a store is down.
type outage int

// The outages.
const (
	undefined  outage = iota // the store is not down
	nothing                  // nothing, and calls end with errors
	local                    // what one's own part of the rate allows
	everything               // everything, and the store is never told
)

// through are the faults of the way, the same for every store.
func through() []fault {
	each := func(f faultproxy.Fault, name string) fault {
		return fault{name: name, felt: felt{struck: true}, places: true, begin: func(s *site) error {
			places := s.requests
			if f != faultproxy.CutBefore {
				places = s.answers
			}
			s.proxy.SetEach(f, places)
			return nil
		}}
	}
	set := func(f faultproxy.Fault, after int, delay time.Duration) func(*site) error {
		return func(s *site) error { s.proxy.Set(f, after, delay); return nil }
	}
	return []fault{
		each(faultproxy.CutBefore, "connection cut before each request"),
		each(faultproxy.CutAfter, "connection cut before each answer"),
		each(faultproxy.Half, "connection cut in the middle of each answer"),
		{name: "delay of 300 ms", felt: felt{slow: 300 * time.Millisecond}, begin: set(faultproxy.Slow, 0, 150*time.Millisecond)},
		{name: "black hole", felt: felt{struck: true, silent: true}, begin: set(faultproxy.Hold, 0, 0)},
		{name: "black hole after the next three requests", felt: felt{struck: true, silent: true}, begin: set(faultproxy.Hold, 3, 0)},
		{name: "reset storm", felt: felt{struck: true, silent: true}, begin: set(faultproxy.Reset, 0, 0)},
		{name: "server paused (SIGSTOP)", felt: felt{silent: true}, begin: func(s *site) error { s.server.Pause(); return nil }, end: func(s *site) error { s.server.Resume(); return nil }},
		{name: "server restarted", felt: felt{changed: process}, begin: func(s *site) error { s.server.Restart(); return nil }},
		{name: "server killed (SIGKILL), started again", felt: felt{changed: process}, begin: func(s *site) error { s.server.Kill(); s.server.Restart(); return nil }},
	}
}

// clocks are the faults of a store's clock, on stores that have one that can be set.
func clocks(with func(testing.TB) (*site, error)) []fault {
	step := func(by time.Duration) func(*site) error {
		return func(s *site) error { return s.clock.Step(by) }
	}
	return []fault{
		{name: "clock set ahead by 1 h", site: with, mended: true, felt: felt{stepped: true}, begin: step(time.Hour), ahead: time.Hour},
		{name: "clock set back by 1 h", site: with, mended: true, felt: felt{stepped: true}, begin: step(-time.Hour)},
		{name: "clock set ahead by 1 h and back", site: with, mended: true, felt: felt{stepped: true}, begin: step(time.Hour), end: step(-time.Hour), ahead: time.Hour},
	}
}

// fillAppendOnly fills the disk, and writes more than the rest of the last block has room for.
func fillAppendOnly(s *site) error {
	if err := s.disk.Fill(); err != nil {
		return err
	}
	_ = onRedis("SET", "torture", strings.Repeat("x", 1<<18))(s) // it may be refused, or the server be gone: that is wanted
	return nil
}

// noticed returns an error if the server doesn't know that its disk is full.
func noticed(s *site) error {
	if !s.server.Logged("No space left") && !s.server.Logged("Short write") {
		return errors.New("the server didn't notice that the disk is full")
	}
	return nil
}

// freeAndRestart does what an operator does for a server that a full disk has ended.
func freeAndRestart(s *site) error {
	if err := noticed(s); err != nil {
		return err
	}
	if err := s.disk.Free(); err != nil {
		return err
	}
	s.server.Restart()
	return nil
}

// always repeats what would otherwise pass too quickly, a few times.
func always(do func(*site) error) func(*site) error {
	return func(s *site) error {
		for range 20 {
			if err := do(s); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond) // between the strikes, not to wait for anything
		}
		return nil
	}
}

func redisFaults() []fault {
	list := append(through(),
		fault{name: "script cache flushed", felt: felt{changed: scriptsMissed}, begin: always(onRedis("SCRIPT", "FLUSH"))},
		fault{name: "connections killed", felt: felt{changed: oldestClient}, begin: always(onRedis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))},
		fault{name: "memory full", felt: felt{failing: true, silent: true}, begin: onRedis("CONFIG", "SET", "maxmemory", "1"), end: onRedis("CONFIG", "SET", "maxmemory", "0")},
		fault{name: "read-only", felt: felt{silent: true}, begin: onRedis("REPLICAOF", "127.0.0.1", "1"), end: onRedis("REPLICAOF", "NO", "ONE")},
		fault{name: "too many connections", felt: felt{silent: true}, begin: func(s *site) error {
			if err := onRedis("CONFIG", "SET", "maxclients", "1")(s); err != nil {
				return err
			}
			s.proxy.CutAll()
			return nil
		}, end: onRedis("CONFIG", "SET", "maxclients", "10000")},
		fault{name: "data flushed", begin: onRedis("FLUSHALL"), amnesia: true},
		fault{name: "disk full, fsync every second", site: redisOnDisk("everysec"), felt: felt{failing: true}, begin: fillAppendOnly, end: func(s *site) error {
			if err := noticed(s); err != nil {
				return err
			}
			return s.disk.Free()
		}},
		fault{name: "disk full, fsync always: the server gives up", site: redisOnDisk("always"), felt: felt{silent: true}, begin: fillAppendOnly, end: freeAndRestart},
		fault{name: "failed over (Sentinel), master killed", site: redisWithSentinel, felt: felt{silent: true, changed: onReplica}, lag: redisLag,
			begin: func(s *site) error { s.server.Kill(); return nil },
			end:   func(s *site) error { return waitFailover(s) }},
		fault{name: "failed over (Sentinel), on order", site: redisWithSentinel, felt: felt{changed: onReplica}, lag: redisLag,
			begin: orderFailover, end: func(s *site) error { return waitFailover(s) }},
		fault{name: "failed over (Sentinel), on order, min-replicas-to-write 1", site: redisWithSentinel, felt: felt{changed: onReplica}, lag: redisLag,
			begin: func(s *site) error {
				if err := onRedis("CONFIG", "SET", "min-replicas-to-write", "1")(s); err != nil {
					return err
				}
				return orderFailover(s)
			},
			end: func(s *site) error { return waitFailover(s) }},
	)
	return append(append(list, clocks(redisWithClock)...), downs()...)
}
