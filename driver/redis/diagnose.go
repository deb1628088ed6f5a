package redis

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tokenthrottle/throttle/internal/redisscript"
)

// diagnosis is what the driver makes of an error from the client.
type diagnosis struct {
	code string // the server's, or empty
	// refused says that the server answered, and that by its answer it did nothing.
	refused bool
	// unsent says that the refusal was of a connection that was to be opened, or the client's own: what was sent before it,
	// by a client that repeats calls by itself, may have been done.
	unsent bool
	// passing says that another attempt may succeed.
	passing bool
	// hashless says that the server takes no hash for a script.
	hashless bool
	remedy   string
}

const (
	remedyHung  = "the server hangs, or the network does: see SLOWLOG, LATENCY DOCTOR and the load of the machine"
	remedyACL   = "give the user these rights: ~prefix* &prefix* +eval +evalsha +get +set +del +time +publish +subscribe +ping +scan, with your prefix in place of prefix (see docs/operating-redis.md)"
	remedyOther = "another program keeps something else under the same prefix: choose another prefix"
)

// refusals are the server's answers that show it did nothing, by the word that they begin with. A script writes once, so
// an error from within it is one of them too.
var refusals = []diagnosis{
	{code: "NOSCRIPT"},
	{code: "READONLY", passing: true, remedy: "this is a replica: use the address of the master, or a URL of Sentinel or Cluster"},
	{code: "LOADING", passing: true, remedy: "the server is loading its data: try again later"},
	{code: "MASTERDOWN", passing: true, remedy: "the replica has lost its master: try again later"},
	{code: "BUSY", passing: true, remedy: "another client's script blocks the server: see SCRIPT KILL and SLOWLOG"},
	{code: "CLUSTERDOWN", passing: true, remedy: "the cluster has no master for the key's slot: see CLUSTER NODES"},
	{code: "TRYAGAIN", passing: true, remedy: "the cluster is moving slots: try again later"},
	{code: "MOVED", passing: true, remedy: "this is a node of a cluster: use a URL with redis+cluster, or a cluster client"},
	{code: "ASK", passing: true, remedy: "this is a node of a cluster: use a URL with redis+cluster, or a cluster client"},
	{code: "NOREPLICAS", passing: true, remedy: "too few replicas follow the master: see min-replicas-to-write"},
	{code: "OOM", remedy: "the server is at its maxmemory: raise it, or remove what else it holds"},
	{code: "MISCONF", remedy: "the server can't save to disk and refuses writes: see its log, and stop-writes-on-bgsave-error"},
	{code: "CROSSSLOT", remedy: "a proxy or the cluster sees keys of several slots in a call that has one: check what is between the program and the cluster"},
	{code: "WRONGTYPE", remedy: remedyOther},
	{code: "THROTTLE_FOREIGN", remedy: remedyOther},
	{code: "THROTTLE_VERSION", remedy: "another version of this library wrote the state: upgrade, or use another prefix"},
	{code: "NOAUTH", remedy: "the server wants a password: give the client one"},
	{code: "WRONGPASS", unsent: true, remedy: "the user or the password is wrong"},
	{code: "NOPERM", remedy: remedyACL},
	{code: "DENIED", remedy: "the server runs in protected mode: set a password, or bind it to the right address"},
}

// openings are what a client sends on a new connection and may have no right to, as a refusal names them. (It doesn't mind
// to have none to the others.)
var openings = []string{"'auth'", "'select'", "'readonly'", "'client|setname'"}

// phrases are refusals that have no word of their own, by what they hold.
var phrases = []struct {
	phrase string
	diagnosis
}{
	{"max number of clients reached", diagnosis{passing: true, remedy: "raise maxclients, or use fewer connections"}},
	{"ACL failure in script", diagnosis{remedy: remedyACL}},
	{"The user executing the script can't", diagnosis{remedy: remedyACL}},
	{"invalid password", diagnosis{unsent: true, remedy: "the user or the password is wrong"}},
	{"syntax error", diagnosis{remedy: "the server is older than Redis 6.2: upgrade it"}},
	{"Error running script", diagnosis{remedy: "see the server's version and log"}},
	{"user_script", diagnosis{remedy: "see the server's version and log"}},
	{"wrong number of arguments", diagnosis{remedy: "see the server's version"}},
}

// diagnose tells what an error means.
func diagnose(err error) diagnosis {
	var refusal redis.Error
	if !errors.As(err, &refusal) || errors.Is(err, redis.Nil) {
		d := diagnosis{passing: true, remedy: "check the address, the network, that the server runs, and its maxclients"}
		var state *redisscript.StateError
		if errors.As(err, &state) {
			d = diagnosis{remedy: "delete the key: its quotas start full again"}
		} else if errors.Is(err, errForgotten) {
			d = diagnosis{remedy: "it happens when more processes share a key than a state remembers, or a clock was set: see docs/operating-redis.md"}
		} else if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			d.remedy = remedyHung
		} else if errors.Is(err, redis.ErrClosed) {
			d = diagnosis{refused: true, unsent: true, remedy: "the client was closed before the driver"}
		}
		return d
	}
	text := refusal.Error()
	lower := strings.ToLower(text)
	if strings.Contains(lower, "evalsha") && (strings.Contains(lower, "unknown command") || strings.Contains(text, "NOPERM")) {
		return diagnosis{code: "evalsha", refused: true, hashless: true, remedy: remedyACL}
	}
	if strings.HasPrefix(lower, "err unknown command") {
		return diagnosis{code: "ERR", refused: true, remedy: "the server lacks a command that the driver needs: it must speak as Redis 6.2 does, scripts included"}
	}
	for _, r := range refusals {
		// Before Redis 7 an error from within a script came as "ERR Error running script …: -OOM command …".
		if strings.HasPrefix(text, r.code+" ") || text == r.code || strings.Contains(text, "-"+r.code+" ") {
			r.refused = true
			r.unsent = r.unsent || r.code == "NOPERM" && slices.ContainsFunc(openings, func(c string) bool { return strings.Contains(text, c) })
			return r
		}
	}
	for _, p := range phrases {
		if strings.Contains(text, p.phrase) {
			p.refused = true
			return p.diagnosis
		}
	}
	// Something that isn't Redis may have answered, such as a proxy that lost the server: who knows what it did.
	return diagnosis{passing: true, remedy: "see what is between the program and the server"}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
