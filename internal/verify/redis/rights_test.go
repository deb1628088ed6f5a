package redis

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/internal/testservice"
)

// rights returns the ACL line for a topology, word for word from the document, with another prefix.
func rights(t *testing.T, marker, prefix string) []any {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operating-redis.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(text), marker)
	if !found {
		t.Fatalf("the document has no %q", marker)
	}
	for line := range strings.Lines(after) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "ACL SETUSER ") {
			var words []any
			for word := range strings.FieldsSeq(strings.ReplaceAll(line, "throttle:*", prefix+"*")) {
				words = append(words, word)
			}
			return words
		}
	}
	t.Fatalf("the document has no ACL line after %q", marker)
	return nil
}

// TestDocumentedRightsAreEnough runs the whole suite, keys and notifications with it, as a user with no other rights.
func TestDocumentedRightsAreEnough(t *testing.T) {
	server := testservice.StartRedis(t)
	admin := goredis.NewClient(&goredis.Options{Addr: server.Addr})
	defer admin.Close()
	serial := 0
	top := topology{
		prefix: func(tb testing.TB) string {
			serial++
			prefix := fmt.Sprintf("p%d:", serial)
			if err := admin.Do(context.Background(), "acl", "deluser", "throttle").Err(); err != nil {
				tb.Fatal(err)
			}
			if err := admin.Do(context.Background(), rights(t, "<!-- rights: standalone -->", prefix)...).Err(); err != nil {
				tb.Fatal(err)
			}
			return prefix
		},
		connect: func(testing.TB, string) goredis.UniversalClient {
			return goredis.NewClient(&goredis.Options{Addr: server.Addr, Username: "throttle", Password: "secret", MaxRetries: -1})
		},
	}
	top.conform(t)
	if log, err := admin.Do(context.Background(), "acl", "log").Slice(); err != nil || len(log) > 0 {
		t.Errorf("the server refused something: %v, %v", log, err)
	}
}

// TestDocumentedRightsAreEnoughInCluster does the same in a cluster.
func TestDocumentedRightsAreEnoughInCluster(t *testing.T) {
	cluster := testservice.StartRedisCluster(t, 3, false)
	serial := 0
	top := topology{
		prefix: func(tb testing.TB) string {
			serial++
			prefix := fmt.Sprintf("p%d:", serial)
			for _, node := range cluster.Masters {
				admin := goredis.NewClient(&goredis.Options{Addr: node.Addr})
				defer admin.Close()
				for _, words := range [][]any{{"acl", "deluser", "throttle"}, rights(t, "<!-- rights: cluster -->", prefix)} {
					if err := admin.Do(context.Background(), words...).Err(); err != nil {
						tb.Fatal(err)
					}
				}
			}
			return prefix
		},
		connect: func(testing.TB, string) goredis.UniversalClient {
			return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: cluster.Addrs(), Username: "throttle", Password: "secret"})
		},
	}
	top.conform(t)
	for _, node := range cluster.Masters {
		admin := goredis.NewClient(&goredis.Options{Addr: node.Addr})
		defer admin.Close()
		if log, err := admin.Do(context.Background(), "acl", "log").Slice(); err != nil || len(log) > 0 {
			t.Errorf("%s refused something: %v, %v", node.Addr, log, err)
		}
	}
}
