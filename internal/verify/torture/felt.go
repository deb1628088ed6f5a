package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// felt is what shows that a fault bit. Each of its fields that is set must hold in every run, or the row has a problem: a
// fault that nobody noticed proves nothing. Only what another check of the run tells already needs none: a state that was
// lost, of which a hook must tell.
type felt struct {
	// struck: the proxy counted a strike.
	struck bool
	// failing: a call failed that was under way while the fault lasted.
	failing bool
	// silent: no call that began while the fault lasted was answered before it was mended. The first quarter is left out:
	// servers take a moment to obey.
	silent bool
	// slow is what every call on the books took at least that began while the fault lasted, as long as silent says.
	slow time.Duration
	// stepped: a limiter was told that the store's clock was set.
	stepped bool
	// changed is what must be another thing once everybody is served again than before the fault.
	changed func(*site) (string, error)
}

// none says that nothing would show.
func (f *felt) none() bool {
	return !f.struck && !f.failing && !f.silent && f.slow == 0 && !f.stepped && f.changed == nil
}

// sense is what was there before a fault, to be compared with what is there after it.
type sense struct {
	felt    felt
	strikes int
	changed string
}

// before takes down what the fault must change.
func (f felt) before(s *site) (*sense, error) {
	b := &sense{felt: f}
	if s.proxy != nil {
		b.strikes = s.proxy.Hits()
	}
	if f.changed != nil {
		var err error
		if b.changed, err = f.changed(s); err != nil {
			return nil, fmt.Errorf("before the fault: %w", err)
		}
	}
	return b, nil
}

// missed says what should have been felt of a fault that lasted from broken to mending, and wasn't.
func (b *sense) missed(s *site, fl *fleet, broken, mending time.Time) (missed []string) {
	miss := func(format string, args ...any) {
		missed = append(missed, "the fault didn't bite: "+fmt.Sprintf(format, args...))
	}
	if b.felt.struck && s.proxy.Hits() == b.strikes {
		miss("the proxy didn't strike")
	}
	settled := broken.Add(mending.Sub(broken) / 4)
	failed, answered, fast := fl.ledger.noticed(broken, settled, mending, b.felt.slow)
	if b.felt.failing && failed == 0 {
		miss("no call failed")
	}
	if b.felt.silent && answered > 0 {
		miss("%d calls began and were answered while nobody should have been", answered)
	}
	if b.felt.slow > 0 && fast > 0 {
		miss("%d calls took less than %v", fast, b.felt.slow)
	}
	if b.felt.stepped && len(fl.stepped) == 0 {
		miss("nobody was told that the clock was set")
	}
	if b.felt.changed != nil {
		switch now, err := b.felt.changed(s); {
		case err != nil:
			miss("%v", err)
		case now == b.changed:
			miss("still %q", now)
		}
	}
	return missed
}

// noticed counts the calls that failed and were under way between broken and mended, those that began and were answered
// between settled and mended, and those of the latter that keep books and took less than slow.
func (l *ledger) noticed(broken, settled, mended time.Time, slow time.Duration) (failed, answered, fast int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failures {
		if f.to.After(broken) && f.from.Before(mended) {
			failed++
		}
	}
	for _, a := range l.answers {
		if a.began.Before(settled) || a.at.After(mended) {
			continue
		}
		answered++
		if a.tight == 0 && a.at.Sub(a.began) < slow {
			fast++
		}
	}
	return failed, answered, fast
}

// process is which process the server is.
func process(s *site) (string, error) { return fmt.Sprint("process ", s.server.Pid()), nil }

// scriptsMissed is how often Redis was asked for a script that it didn't have.
func scriptsMissed(s *site) (string, error) {
	info, err := s.admin.Info(context.Background(), "errorstats").Result()
	for line := range strings.Lines(info) {
		if strings.HasPrefix(line, "errorstat_NOSCRIPT") {
			return strings.TrimSpace(line), nil
		}
	}
	return "no script was missed", err
}

// oldestClient is which of Redis's clients, other than the admin, came first.
func oldestClient(s *site) (string, error) {
	own, err := s.admin.ClientID(context.Background()).Result()
	if err != nil {
		return "", err
	}
	list, err := s.admin.ClientList(context.Background()).Result()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(line, " "); id != fmt.Sprint("id=", own) {
			return id, nil
		}
	}
	return "nobody", nil
}

// onReplica is whether drivers ask Redis's replica, by the scripts that it was asked for; what it replicates doesn't count.
func onReplica(s *site) (string, error) {
	c := redis.NewClient(&redis.Options{Addr: s.sentinel.Replica.Addr})
	defer c.Close()
	info, err := c.Info(context.Background(), "commandstats").Result()
	if strings.Contains(info, "cmdstat_evalsha:") {
		return "drivers ask the replica", err
	}
	return "no driver asks the replica", err
}

// oldestBackend is since when the oldest of Postgres's clients has been there.
func oldestBackend(s *site) (string, error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.server.URL)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	var since *time.Time
	err = c.QueryRow(ctx, "SELECT min(backend_start) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()").Scan(&since)
	return fmt.Sprint("oldest since ", since), err
}
