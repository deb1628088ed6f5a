package redis

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// subject is a driver over a server that a test does things to, and what was taken of a key that never refills.
type subject struct {
	t      *testing.T
	server *testservice.Server
	admin  *goredis.Client
	d      *redis.Driver
	taken  float64
}

const unitsAtFirst = 1e6

// still is a quota that doesn't refill within a test.
func still(t testing.TB) *bucket.Limits {
	t.Helper()
	l, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 1, Per: bucket.MaxSpan, Burst: unitsAtFirst})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// onServer starts a server, and a driver with a client to it, or to addr.
func onServer(t *testing.T, server *testservice.Server, options func(*goredis.Options)) *subject {
	t.Helper()
	s := &subject{t: t, server: server, admin: goredis.NewClient(&goredis.Options{Addr: server.Addr})}
	o := &goredis.Options{Addr: server.Addr, MaxRetries: -1, ReadTimeout: time.Second, DialTimeout: time.Second}
	if options != nil {
		options(o)
	}
	client := goredis.NewClient(o)
	s.d = redis.New(client, &redis.Options{Prefix: "t:", Timeout: 2 * time.Second})
	t.Cleanup(func() {
		s.d.Close()
		client.Close()
		s.admin.Close()
	})
	return s
}

// take records units on each key in one batch, within bounded time.
func (s *subject) take(units float64, keys ...string) error {
	s.t.Helper()
	var batch []driver.Request
	for _, key := range keys {
		batch = append(batch, driver.Request{Key: key, Limits: still(s.t), Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{units}}}})
	}
	begin := time.Now()
	_, err := s.d.Apply(context.Background(), batch)
	if took := time.Since(begin); took > 10*time.Second {
		s.t.Errorf("Apply took %v", took)
	}
	return err
}

// must take units, and take note of it.
func (s *subject) must(units float64, keys ...string) {
	s.t.Helper()
	if err := s.take(units, keys...); err != nil {
		s.t.Fatal(err)
	}
	s.taken += units
}

// check wants just so much taken of the keys as the test took.
func (s *subject) check(keys ...string) {
	s.t.Helper()
	for _, key := range keys {
		responses, err := s.d.Apply(context.Background(), []driver.Request{{Key: key, Limits: still(s.t), Ops: []bucket.Op{{Kind: bucket.Peek}}}})
		if err != nil {
			s.t.Fatal(err)
		}
		if got := unitsAtFirst - responses[0].Results[0].State.Buckets[0].Level; got < s.taken-0.01 || got > s.taken+0.01 {
			s.t.Errorf("%v was taken of %q, want %v", got, key, s.taken)
		}
	}
}

// refused wants an error with a remedy that holds words, of a batch that surely wasn't applied.
func (s *subject) refused(err error, words string) {
	s.t.Helper()
	var store *driver.StoreError
	switch {
	case !errors.As(err, &store):
		s.t.Errorf("%v is no StoreError", err)
	case !strings.Contains(store.Remedy, words):
		s.t.Errorf("the remedy of %q doesn't tell of %q", err, words)
	case errors.Is(err, driver.ErrUnknownOutcome):
		s.t.Errorf("%v: the outcome is known", err)
	}
}

func keys(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("key", i))
	}
	return all
}

func (s *subject) do(args ...any) {
	s.t.Helper()
	if err := s.admin.Do(context.Background(), args...).Err(); err != nil {
		s.t.Fatal(err)
	}
}

func TestScriptIsGone(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	all := keys(40)
	s.must(1, all...) // NOSCRIPT for each of a pipeline
	s.do("script", "flush")
	s.must(2, "key0")
	s.do("script", "flush")
	s.must(4, all[1:]...)
	s.taken -= 4
	s.check("key0")
	s.taken += 4 - 2
	s.check(all[1:]...)
}

func TestServerTakesNoHashes(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), func(o *goredis.Options) { o.Username, o.Password = "u", "p" })
	s.do("acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all", "-evalsha", "-script")
	s.must(1, "a", "b")
	s.must(2, "a", "b")
	s.check("a", "b")
}

func TestServerTakesNoScripts(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), func(o *goredis.Options) { o.Username, o.Password = "u", "p" })
	s.do("acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all", "-@scripting")
	s.refused(s.take(1, "a"), "+evalsha")
	s.refused(s.take(1, "a", "b"), "+evalsha")
}

func TestScriptMayNotWrite(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), func(o *goredis.Options) { o.Username, o.Password = "u", "p" })
	s.do("acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all", "-set")
	s.refused(s.take(1, "a"), "+set")
	s.do("acl", "setuser", "u", "+set", "resetkeys", "~other:*")
	s.refused(s.take(1, "a"), "~prefix*")
	s.do("acl", "setuser", "u", "~t:*")
	s.must(1, "a")
	s.check("a")
}

func TestServerRefusesToList(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), func(o *goredis.Options) { o.Username, o.Password = "u", "p" })
	s.do("acl", "setuser", "u", "on", ">p", "~*", "&*", "+@all", "-scan")
	s.must(1, "a")
	list := func() (keys []string, err error) {
		for key, err := range s.d.Keys(t.Context()) {
			if err != nil {
				return keys, err
			}
			keys = append(keys, key)
		}
		return keys, nil
	}
	_, err := list()
	s.refused(err, "+scan")
	s.do("acl", "setuser", "u", "+scan")
	if keys, err := list(); err != nil || len(keys) != 1 || keys[0] != "a" {
		t.Errorf("keys %q, %v, want a", keys, err)
	}
	s.server.Kill()
	_, err = list()
	s.refused(err, "address")
}

func TestNobodyToSubscribeAt(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(1, "a")
	notify := func(ctx context.Context) error {
		stop, err := s.d.Notify(ctx, func(key, place string) { t.Errorf("told of %q, %q", key, place) })
		if err == nil {
			stop()
		}
		return err
	}
	if err := notify(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := notify(ended); err != context.Canceled {
		t.Errorf("with an ended context: %v, want its own error", err)
	}
	s.server.Pause()
	soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := notify(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the server hangs: %v, want the context's error", err)
	}
	s.server.Resume()
	s.server.Kill()
	s.refused(notify(t.Context()), "address")
	s.d.Close()
	if err := notify(t.Context()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("on a closed driver: %v, want ErrClosed", err)
	}
}

// Whoever goes away while a server is asked for its clock is told that, and not that the connection broke.
func TestOpeningIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			_, err = c.Read(make([]byte, 1))
		}
		cancel()
		asked <- err
	}()
	_, err = driver.Open(ctx, "redis://"+l.Addr().String()+"?timeout=1m&read_timeout=1m")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if err := <-asked; err != nil {
		t.Errorf("the server: %v", err)
	}
}

func TestReplicaIsReadOnly(t *testing.T) {
	master := testservice.StartRedis(t, "--repl-diskless-sync-delay", "0")
	s := onServer(t, testservice.StartRedisReplica(t, master), nil)
	s.refused(s.take(1, "a"), "master")
	s.do("replicaof", "no", "one")
	s.must(1, "a")
	s.check("a")
}

func TestServerIsLoading(t *testing.T) {
	server := testservice.StartRedis(t, "--loading-process-events-interval-bytes", "1024")
	s := onServer(t, server, nil)
	s.must(1, "a")
	for i := range 2000 {
		s.do("set", fmt.Sprint("k", i), strings.Repeat("x", 1000))
	}
	s.do("save")
	server.Kill()
	server.RestartWith("--key-load-delay", "2000") // microseconds a key
	err := s.take(0, "a")
	if err == nil {
		t.Fatal("the server had loaded already")
	}
	s.refused(err, "loading")
}

func TestServerIsBusy(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t, "--busy-reply-threshold", "20"), nil)
	s.must(1, "a")
	forever := func() chan error {
		done := make(chan error, 1)
		go func() {
			c := goredis.NewClient(&goredis.Options{Addr: s.server.Addr, MaxRetries: -1, ReadTimeout: time.Minute})
			defer c.Close()
			done <- c.Eval(context.Background(), "while true do end", nil).Err()
		}()
		eventually(t, "busy", func() bool {
			err := s.admin.Get(context.Background(), "x").Err()
			return err != nil && strings.HasPrefix(err.Error(), "BUSY")
		})
		return done
	}
	done := forever()
	s.refused(s.take(2, "a"), "SCRIPT KILL")
	s.do("script", "kill")
	<-done
	done = forever()
	timer := time.AfterFunc(200*time.Millisecond, func() { s.admin.ScriptKill(context.Background()) })
	defer timer.Stop()
	s.must(4, "a")
	<-done
	s.check("a")
}

func TestServerIsOutOfMemory(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(1, "a")
	s.do("config", "set", "maxmemory", "1mb")
	s.refused(s.take(2, "a"), "maxmemory")
	s.refused(s.take(2, "b", "c"), "maxmemory")
	s.do("config", "set", "maxmemory", "0")
	s.must(4, "a")
	s.check("a")
}

func TestReplicasAreTooFew(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(1, "a")
	s.do("config", "set", "min-replicas-to-write", "1")
	s.refused(s.take(2, "a"), "min-replicas-to-write")
	s.do("config", "set", "min-replicas-to-write", "0")
	s.check("a")
}

func TestNodeOfClusterWithPlainClient(t *testing.T) {
	cluster := testservice.StartRedisCluster(t, 3, false)
	s := onServer(t, cluster.Masters[0], nil)
	refused := 0
	for _, key := range keys(20) {
		if err := s.take(1, key); err != nil {
			s.refused(err, "redis+cluster")
			if refused++; refused == 2 {
				return
			}
		}
	}
	t.Errorf("%d keys were refused", refused)
}

func TestKeyHoldsSomethingElse(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.do("rpush", "t:{list}", "x")
	s.refused(s.take(1, "list"), "another program")
	s.do("set", "t:{string}", "hello")
	s.refused(s.take(1, "string"), "another program")
	s.do("set", "t:{newer}", "tb\x02whatever")
	s.refused(s.take(1, "newer"), "upgrade")
	// What else is in the batch may have been applied.
	if err := s.take(1, "list", "a"); !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("a batch that was applied in part gives %v", err)
	}
}

// A level that is no number is told of by the key's name, not computed with in silence by whoever looks at it.
func TestStateIsDamaged(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(unitsAtFirst/2, "k")
	stored, err := s.admin.Get(context.Background(), "t:{k}").Result()
	if err != nil {
		t.Fatal(err)
	}
	level := string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(unitsAtFirst/2)))
	if !strings.Contains(stored, level) {
		t.Fatalf("the level isn't in %q", stored)
	}
	nan := string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(math.NaN())))
	s.do("set", "t:{k}", strings.ReplaceAll(stored, level, nan))
	_, err = s.d.Apply(context.Background(), []driver.Request{{Key: "k", Limits: still(t), Ops: []bucket.Op{
		{Kind: bucket.Record, Cost: []float64{1}},
		{Kind: bucket.Peek},
	}}})
	var store *driver.StoreError
	if !errors.As(err, &store) || !strings.Contains(store.Remedy, "delete the key") || !strings.Contains(err.Error(), `"t:{k}"`) {
		t.Errorf("error %v, want one that names the key and says to delete it", err)
	}
	if !errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v, want ErrUnknownOutcome: what came before the look was applied", err)
	}
}

func TestPasswordIsMissing(t *testing.T) {
	server := testservice.StartRedis(t, "--requirepass", "secret")
	s := onServer(t, server, nil)
	s.refused(s.take(1, "a"), "password")
	s = onServer(t, server, func(o *goredis.Options) { o.Password = "wrong" })
	s.refused(s.take(1, "a"), "password is wrong")
	s = onServer(t, server, func(o *goredis.Options) { o.Password = "secret" })
	s.must(1, "a")
	s.check("a")
}

func TestTooManyClients(t *testing.T) {
	server := testservice.StartRedis(t)
	s := onServer(t, server, nil)
	s.do("config", "set", "maxclients", "1")
	s.refused(s.take(1, "a"), "maxclients")
	s.do("config", "set", "maxclients", "100")
	s.must(1, "a")
	s.check("a")
}

func TestNobodyListens(t *testing.T) {
	server := testservice.StartRedis(t)
	s := onServer(t, server, nil)
	server.Kill()
	s.refused(s.take(1, "a"), "address")
	server.Restart()
	s.must(1, "a")
	s.check("a")
}

func TestClientIsClosed(t *testing.T) {
	server := testservice.StartRedis(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	s := &subject{t: t, d: redis.New(client, nil)}
	client.Close()
	s.refused(s.take(1, "a"), "client was closed")
}

// TestServerHangs wants an answer in bounded time, and later each batch applied once, whatever the driver had to give up.
func TestServerHangs(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(1, "a")
	s.server.Pause()
	err := s.take(2, "a")
	var store *driver.StoreError
	if !errors.Is(err, driver.ErrUnknownOutcome) || !errors.As(err, &store) || !strings.Contains(store.Remedy, "hangs") {
		t.Errorf("a hung server gives %v", err)
	}
	s.refused(s.take(4, "a"), "hangs") // not even a connection could be made
	s.server.Resume()
	s.taken += 2 // all attempts arrive, and count once
	s.must(8, "a")
	s.check("a")
}

func TestServerHangsForAMoment(t *testing.T) {
	s := onServer(t, testservice.StartRedis(t), nil)
	s.must(1, "a", "b", "c")
	s.server.Pause()
	timer := time.AfterFunc(1200*time.Millisecond, s.server.Resume)
	defer timer.Stop()
	s.must(2, "a", "b", "c")
	s.check("a", "b", "c")
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not %s in time", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
