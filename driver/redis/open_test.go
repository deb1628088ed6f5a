package redis

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/driver"
)

func TestOpenRefusesBadURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost?colour=red":                               "colour",
		"redis://localhost?timeout=soon":                             "timeout",
		"redis://localhost/three":                                    "three",
		"redis://localhost?prefix=" + strings.Repeat("x", 1025):      "1025 bytes",
		"redis+cluster://localhost?colour=red":                       "colour",
		"redis+cluster://localhost?timeout=soon":                     "timeout",
		"redis://localhost?colour=Red":                               "pool_size",
		"redis+cluster://localhost?colour=Red":                       "addr",
		"redis://localhost?pool_size=-3":                             "pool_size",
		"redis+cluster://localhost?pool_size=999999999999":           "pool_size",
		"redis://localhost?pool_size=2&pool_size=3":                  "pool_size is given 2 times",
		"redis+cluster://localhost/3":                                "database",
		"redis:10.0.0.5:6379":                                        "redis://",
		"redis+sentinel:10.0.0.5/mymaster":                           "redis+sentinel://",
		"redis+sentinel://user:secret@localhost?db=0":                "name of the master",
		"redis+sentinel://user:secret@localhost/mymaster?colour=red": "colour",
		"redis+sentinel://localhost/mymaster?pool_size=999999999999": "pool_size",
		"redis+sentinel://user:secret@localhost/mymaster?db=-1":      "db",
	} {
		_, err := driver.Open(t.Context(), url)
		var open *driver.OpenError
		if !errors.As(err, &open) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want an OpenError about %q", url, err, want)
		}
	}
}

// TestOpenReachesNobody wants an error with a remedy, in time, for every topology.
func TestOpenReachesNobody(t *testing.T) {
	for _, url := range []string{
		"redis://127.0.0.1:1?timeout=300ms",
		"rediss://127.0.0.1:1?timeout=300ms",
		"redis+cluster://127.0.0.1:1?timeout=300ms&addr=127.0.0.1:2",
		"rediss+cluster://127.0.0.1:1?timeout=300ms",
		"redis+sentinel://127.0.0.1:1/mymaster?timeout=300ms&addrs=127.0.0.1:2,127.0.0.1",
		"rediss+sentinel://127.0.0.1:1/mymaster?timeout=300ms",
	} {
		begin := time.Now()
		_, err := driver.Open(t.Context(), url)
		var store *driver.StoreError
		if !errors.As(err, &store) || store.Doing != "open" || store.Remedy == "" {
			t.Errorf("%s: %v", url, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s: took %v", url, took)
		}
	}
}

// What is wrong with a server's address often shows only in its answer, and the driver's diagnosis of an answer is for one
// that has served before.
func TestRemediesOfOpening(t *testing.T) {
	for _, c := range []struct {
		scheme string
		err    error
		want   string
	}{
		{"redis", refusal("ERR DB index is out of range"), "databases"},
		{"redis+cluster", refusal("ERR This instance has cluster support disabled"), "a URL with redis://"},
		{"rediss+cluster", refusal("ERR This instance has cluster support disabled"), "a URL with rediss://"},
		{"redis", io.EOF, "rediss"},
		{"rediss", context.DeadlineExceeded, "TLS"},
		{"redis", context.DeadlineExceeded, "SLOWLOG"},
		{"redis", refusal("NOAUTH Authentication required."), "password"},
	} {
		if got := openRemedy(c.scheme, c.err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %v: remedy %q, want one that says %q", c.scheme, c.err, got, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer client.Close()
	if d := New(client, nil); d.prefix != "throttle:" || d.timeout != 5*time.Second {
		t.Errorf("defaults: prefix %q, timeout %v", d.prefix, d.timeout)
	}
	if d := New(client, &Options{Prefix: "p", Timeout: time.Second}); d.prefix != "p" || d.timeout != time.Second {
		t.Errorf("prefix %q, timeout %v", d.prefix, d.timeout)
	}
	defer func() {
		if recover() == nil {
			t.Error("a prefix of 1,025 bytes was taken")
		}
	}()
	New(client, &Options{Prefix: strings.Repeat("x", 1025)})
}

// TestQuickClientIsItsOwn makes sure that what the driver changes is its copy of the client.
func TestQuickClientIsItsOwn(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: 7, ReadTimeout: time.Minute})
	defer client.Close()
	quick := New(client, nil).quick.(*redis.Client)
	if o := quick.Options(); o.MaxRetries != 0 || !o.ContextTimeoutEnabled || o.ReadTimeout != patience {
		t.Errorf("the quick client has %d retries, a read timeout of %v, and obeys ctx: %v", o.MaxRetries, o.ReadTimeout, o.ContextTimeoutEnabled)
	}
	if o := client.Options(); o.MaxRetries != 7 || o.ContextTimeoutEnabled || o.ReadTimeout != time.Minute {
		t.Errorf("the user's client has now %d retries, a read timeout of %v, and obeys ctx: %v", o.MaxRetries, o.ReadTimeout, o.ContextTimeoutEnabled)
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	if New(cluster, nil).quick != nil {
		t.Error("a cluster client that doesn't obey ctx is used on the caller's goroutine")
	}
}

func TestRedisKeysAndMessagesAreTakenApart(t *testing.T) {
	d := &Driver{prefix: "p{:"}
	seen := map[string]bool{}
	for _, key := range []string{"", "k", "}", "{", "{}", "k}", "{k", "\x00", "\xff", "p{:", strings.Repeat("long", 1000)} {
		name := d.redisKey(key)
		if seen[name] {
			t.Errorf("%q and another key are both %q", key, name)
		}
		seen[name] = true
		payload := string([]byte{byte(len(name)), byte(len(name) >> 8)}) + name + "place"
		if got, place, ok := d.parseReady(payload); !ok || got != key || place != "place" {
			t.Errorf("%q: %q, %q, %v", key, got, place, ok)
		}
	}
	for _, payload := range []string{"", "x", "\x09\x00short", "\x01\x00xplace", "\x04\x00p{:kplace"} {
		if key, place, ok := d.parseReady(payload); ok {
			t.Errorf("%q was read as %q, %q", payload, key, place)
		}
	}
}

func TestDiagnoses(t *testing.T) {
	for text, want := range map[string]diagnosis{
		"NOSCRIPT No matching script. Please use EVAL.":                                              {code: "NOSCRIPT", refused: true},
		"OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:1.":    {code: "OOM", refused: true},
		"ERR Error running script (call to f_abc): @user_script:1: -OOM command not allowed when …":  {code: "OOM", refused: true},
		"READONLY You can't write against a read only replica.":                                      {code: "READONLY", refused: true, passing: true},
		"CROSSSLOT Keys in request don't hash to the same slot":                                      {code: "CROSSSLOT", refused: true},
		"ERR unknown command 'EVALSHA', with args beginning with: 'x' ":                              {code: "evalsha", refused: true, hashless: true},
		"ERR unknown command 'EVAL', with args beginning with: 'x' ":                                 {code: "ERR", refused: true},
		"NOPERM this user has no permissions to run the 'evalsha' command or its subcommand":         {code: "evalsha", refused: true, hashless: true},
		"WRONGPASS invalid username-password pair or user is disabled.":                              {code: "WRONGPASS", refused: true, unsent: true},
		"NOPERM User u has no permissions to run the 'select' command":                               {code: "NOPERM", refused: true, unsent: true},
		"NOPERM User u has no permissions to run the 'eval' command":                                 {code: "NOPERM", refused: true},
		"ERR syntax error script: abc, on @user_script:7.":                                           {refused: true},
		"ERR Connection timed out":                                                                   {passing: true}, // a proxy's
		"upstream failure":                                                                           {passing: true},
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist …":  {code: "MISCONF", refused: true},
		"LOADING Redis is loading the dataset in memory":                                             {code: "LOADING", refused: true, passing: true},
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.":     {code: "BUSY", refused: true, passing: true},
		"THROTTLE_VERSION the state has version 2, this script reads 1":                              {code: "THROTTLE_VERSION", refused: true},
		"NOREPLICAS Not enough good replicas to write.":                                              {code: "NOREPLICAS", refused: true, passing: true},
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.":           {code: "MASTERDOWN", refused: true, passing: true},
		"-DENIED Redis is running in protected mode because protected mode is enabled …":             {code: "DENIED", refused: true},
		"ERR max number of clients reached":                                                          {refused: true, passing: true},
		"ERR The user executing the script can't run this command or subcommand script: abc":         {refused: true},
		"TRYAGAIN Multiple keys request during rehashing of slot":                                    {code: "TRYAGAIN", refused: true, passing: true},
		"CLUSTERDOWN Hash slot not served":                                                           {code: "CLUSTERDOWN", refused: true, passing: true},
		"WRONGTYPE Operation against a key holding the wrong kind of value script: abc, on @user_sc": {code: "WRONGTYPE", refused: true},
		"ERR invalid password": {refused: true, unsent: true},
	} {
		got := diagnose(refusal(text))
		if got.remedy == "" && got.code != "NOSCRIPT" {
			t.Errorf("%q: no remedy", text)
		}
		got.remedy = ""
		if got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for _, err := range []error{context.DeadlineExceeded, errors.New("EOF"), redis.ErrClosed, errForgotten} {
		if d := diagnose(err); d.remedy == "" || d.refused != errors.Is(err, redis.ErrClosed) || d.unsent != d.refused {
			t.Errorf("%v: %+v", err, d)
		}
	}
}

// refusal is an answer of a server.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}
