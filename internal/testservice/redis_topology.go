package testservice

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterBus is how far a node's bus port is from its port.
const clusterBus = 10000

const slots = 16384

// RedisCluster is a Redis Cluster of the test's own.
type RedisCluster struct {
	// Masters as they were when the cluster started, and their Replicas, in the same order.
	Masters, Replicas []*Server
}

// Addrs are the addresses of all nodes.
func (c *RedisCluster) Addrs() []string {
	var addrs []string
	for _, s := range append(append([]*Server{}, c.Masters...), c.Replicas...) {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// StartRedisCluster starts a cluster of so many masters, at least three, each with one replica if replicated.
func StartRedisCluster(t testing.TB, masters int, replicated bool) *RedisCluster {
	t.Helper()
	c := &RedisCluster{}
	node := func() *Server {
		return StartRedis(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf")
	}
	for range masters {
		c.Masters = append(c.Masters, node())
		if replicated {
			c.Replicas = append(c.Replicas, node())
		}
	}
	if err := c.form(context.Background()); err != nil {
		t.Fatalf("form a cluster: %v", err)
	}
	return c
}

// form gives each master its slots, introduces the nodes to each other and waits until all agree.
func (c *RedisCluster) form(ctx context.Context) error {
	var ids []string
	for i, s := range c.Masters {
		client := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer client.Close()
		first, last := i*slots/len(c.Masters), (i+1)*slots/len(c.Masters)-1
		if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			return err
		}
		id, err := client.Do(ctx, "cluster", "myid").Text()
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	first := redis.NewClient(&redis.Options{Addr: c.Masters[0].Addr})
	defer first.Close()
	for _, addr := range c.Addrs()[1:] {
		host, port, _ := strings.Cut(addr, ":")
		if err := first.ClusterMeet(ctx, host, port).Err(); err != nil {
			return err
		}
	}
	for i, s := range c.Replicas {
		client := redis.NewClient(&redis.Options{Addr: s.Addr})
		defer client.Close()
		err := eventually("replicate", func() error { return client.ClusterReplicate(ctx, ids[i]).Err() })
		if err != nil {
			return err
		}
	}
	for _, addr := range c.Addrs() {
		client := redis.NewClient(&redis.Options{Addr: addr})
		defer client.Close()
		err := eventually("agree", func() error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New(info)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, s := range c.Replicas {
		if err := s.inSync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// inSync waits until a replica follows its master.
func (s *Server) inSync(ctx context.Context) error {
	client := redis.NewClient(&redis.Options{Addr: s.Addr})
	defer client.Close()
	return eventually("follow", func() error {
		info, err := client.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New(info)
		}
		return err
	})
}

// StartRedisReplica starts a server that follows master, and waits until it does.
func StartRedisReplica(t testing.TB, master *Server, args ...string) *Server {
	t.Helper()
	host, port, _ := strings.Cut(master.Addr, ":")
	s := StartRedis(t, append([]string{"--replicaof", host + " " + port, "--repl-diskless-sync-delay", "0"}, args...)...)
	if err := s.inSync(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s
}

// RedisSentinel is a master, a replica and the sentinels that watch them.
type RedisSentinel struct {
	// Name is what the sentinels call the master.
	Name            string
	Master, Replica *Server
	Sentinels       []*Server
}

// Addrs are the addresses of the sentinels.
func (r *RedisSentinel) Addrs() []string {
	var addrs []string
	for _, s := range r.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// StartRedisSentinel starts a master, a replica and three sentinels that fail over half a second after the master is
// gone.
func StartRedisSentinel(t testing.TB) *RedisSentinel {
	t.Helper()
	r := &RedisSentinel{Name: "throttle", Master: StartRedis(t, "--repl-diskless-sync-delay", "0")}
	r.Replica = StartRedisReplica(t, r.Master)
	host, port, _ := strings.Cut(r.Master.Addr, ":")
	for range 3 {
		s, err := newRedis()
		if err != nil {
			missing(t, "redis-server", err)
		}
		_, own, _ := strings.Cut(s.Addr, ":")
		config := filepath.Join(s.dir, "sentinel.conf")
		text := fmt.Sprintf("port %s\nbind 127.0.0.1\ndir %s\nsentinel monitor %[3]s %[4]s %[5]s 2\nsentinel down-after-milliseconds %[3]s 500\nsentinel failover-timeout %[3]s 3000\n",
			own, s.dir, r.Name, host, port)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.argv = []string{s.argv[0], config, "--sentinel"}
		s.run(t)
		r.Sentinels = append(r.Sentinels, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, s := range r.Sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr})
		defer client.Close()
		err := eventually("watch", func() error {
			state, err := client.Master(ctx, r.Name).Result()
			if err == nil && (state["num-slaves"] != "1" || state["num-other-sentinels"] != "2") {
				err = fmt.Errorf("sentinel knows %s replicas and %s other sentinels", state["num-slaves"], state["num-other-sentinels"])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// WaitFailover waits until every sentinel names another master than before.
func (r *RedisSentinel) WaitFailover(t testing.TB, before *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, s := range r.Sentinels {
		client := redis.NewSentinelClient(&redis.Options{Addr: s.Addr, DialTimeout: time.Second})
		defer client.Close()
		err := eventually("fail over", func() error {
			addr, err := client.GetMasterAddrByName(ctx, r.Name).Result()
			if err == nil && strings.Join(addr, ":") == before.Addr {
				err = fmt.Errorf("the master is still %s", before.Addr)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
