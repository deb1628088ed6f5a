package redis

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// untilTaken tries until a batch over many keys is applied again. Every error on the way must be one of the contract's.
func untilTaken(t *testing.T, d driver.Driver, all []string) {
	t.Helper()
	var batch []driver.Request
	for _, key := range all {
		batch = append(batch, driver.Request{Key: key, Limits: still(t), Ops: []bucket.Op{{Kind: bucket.Record, Cost: []float64{1}}}})
	}
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := d.Apply(context.Background(), batch)
		if err == nil {
			return
		}
		var store *driver.StoreError
		if !errors.As(err, &store) || store.Remedy == "" {
			t.Fatalf("%v is no StoreError with a remedy", err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %v", err)
		}
	}
}

// taken is how much was taken of a key, and whether the store knows it.
func taken(t *testing.T, d driver.Driver, key string) (float64, bool) {
	t.Helper()
	responses, err := d.Apply(context.Background(), []driver.Request{{Key: key, Limits: still(t), Ops: []bucket.Op{{Kind: bucket.Peek}}}})
	if err != nil {
		t.Fatal(err)
	}
	return unitsAtFirst - responses[0].Results[0].State.Buckets[0].Level, !responses[0].Absent
}

// replicated waits until a server's replica has all that it has.
func replicated(t *testing.T, s *testservice.Server) {
	t.Helper()
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr})
	defer c.Close()
	if n, err := c.Wait(context.Background(), 1, 10*time.Second).Result(); err != nil || n != 1 {
		t.Fatalf("%d replicas follow: %v", n, err)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	r := testservice.StartRedisSentinel(t)
	addrs := r.Addrs()
	d, err := driver.Open(t.Context(), fmt.Sprintf("redis+sentinel://%s/%s?addrs=%s,%s&timeout=1s", addrs[0], r.Name, addrs[1], addrs[2]))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := keys(20)
	untilTaken(t, d, all)
	replicated(t, r.Master)
	r.Master.Kill()
	untilTaken(t, d, all)
	for _, key := range all {
		// A batch that was given up may have been applied in part, before the one that succeeded.
		if got, known := taken(t, d, key); !known || got < 1.99 {
			t.Errorf("%v was taken of %s", got, key)
		}
	}
}

func TestClusterFailsOver(t *testing.T) {
	c := testservice.StartRedisCluster(t, 3, true)
	addrs := c.Addrs()
	d, err := driver.Open(t.Context(), fmt.Sprintf("redis+cluster://%s?addr=%s&addr=%s&timeout=1s", addrs[0], addrs[1], addrs[2]))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := keys(60)
	untilTaken(t, d, all)
	for _, master := range c.Masters {
		replicated(t, master)
	}
	c.Masters[1].Kill()
	untilTaken(t, d, all)
	for _, key := range all {
		if got, known := taken(t, d, key); !known || got < 1.99 {
			t.Errorf("%v was taken of %s", got, key)
		}
	}
}

// TestSlotMoves has a key's slot moved to another node, with and without the key, while the driver uses it.
func TestSlotMoves(t *testing.T) {
	c := testservice.StartRedisCluster(t, 3, false)
	d, err := driver.Open(t.Context(), "redis+cluster://"+c.Masters[0].Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const key = "key0"
	untilTaken(t, d, []string{key})
	from, to := mastersOf(t, c, key)
	slot := from.ClusterKeySlot(t.Context(), "throttle:{"+key+"}").Val()
	id := func(c *goredis.Client) string { return c.Do(context.Background(), "cluster", "myid").Val().(string) }
	steps := []func() error{
		func() error {
			return to.Do(t.Context(), "cluster", "setslot", slot, "importing", id(from)).Err()
		},
		func() error { return from.Do(t.Context(), "cluster", "setslot", slot, "migrating", id(to)).Err() },
		func() error {
			host, port := split(to.Options().Addr)
			return from.Migrate(t.Context(), host, port, "throttle:{"+key+"}", 0, 5*time.Second).Err()
		},
		func() error { return to.Do(t.Context(), "cluster", "setslot", slot, "node", id(to)).Err() },
		func() error { return from.Do(t.Context(), "cluster", "setslot", slot, "node", id(to)).Err() },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		untilTaken(t, d, []string{key})
		if got, _ := taken(t, d, key); got < float64(i)+1.99 || got > float64(i)+2.01 {
			t.Errorf("after step %d: %v was taken", i, got)
		}
	}
}

// mastersOf returns clients of the master that has a key, and of another.
func mastersOf(t *testing.T, c *testservice.RedisCluster, key string) (has, other *goredis.Client) {
	t.Helper()
	for _, master := range c.Masters {
		client := goredis.NewClient(&goredis.Options{Addr: master.Addr})
		t.Cleanup(func() { client.Close() })
		if client.Exists(t.Context(), "throttle:{"+key+"}").Val() == 1 {
			has = client
		} else {
			other = client
		}
	}
	if has == nil {
		t.Fatalf("no master has %s", key)
	}
	return has, other
}
