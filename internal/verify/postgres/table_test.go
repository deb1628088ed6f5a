package postgres

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// figures are what Postgres counts of a table.
type figures struct {
	Updates, Hot, SeqScans, IndexEntries, TableBytes, IndexBytes int64
}

// figures reads them once those of the pool's only connection are in.
func (tab *table) figures(pool *pgxpool.Pool) figures {
	tab.tb.Helper()
	var f figures
	ctx := tab.tb.Context()
	if _, err := pool.Exec(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
		tab.tb.Fatal(err)
	}
	if err := pool.QueryRow(ctx, tab.sql(`SELECT n_tup_upd, n_tup_hot_upd, seq_scan,
		(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes AS i WHERE i.relid = t.relid),
		pg_relation_size(relid), pg_indexes_size(relid)
		FROM pg_stat_user_tables AS t WHERE relid = 'TABLE0'::regclass`)).Scan(
		&f.Updates, &f.Hot, &f.SeqScans, &f.IndexEntries, &f.TableBytes, &f.IndexBytes); err != nil {
		tab.tb.Fatal(err)
	}
	return f
}

// single is a pool of one connection, whose figures are those of a driver over it.
func (tab *table) single() *pgxpool.Pool {
	return tab.pool(func(c *pgxpool.Config) { c.MaxConns = 1 })
}

func (tab *table) over(pool *pgxpool.Pool) *postgres.Driver {
	tab.tb.Helper()
	d, err := postgres.New(tab.tb.Context(), pool, &tab.options)
	if err != nil {
		tab.tb.Fatal(err)
	}
	tab.tb.Cleanup(func() { d.Close() })
	return d
}

// Updates write no index, whether all go to one row or to many side by side, and the table doesn't grow with them.
func TestUpdatesAreHot(t *testing.T) {
	// A server of its own: a transaction of another test's would keep old versions alive.
	url := testservice.StartPostgres(t).URL
	for _, keys := range []int{1, 100} {
		t.Run(fmt.Sprint(keys, " keys"), func(t *testing.T) {
			tab := newTableAt(t, url, postgres.Options{})
			pool := tab.single()
			d := tab.over(pool)
			batch := make([]driver.Request, min(keys, 20))
			for i := range 1000 / len(batch) {
				for j := range batch {
					batch[j] = driver.Request{Key: fmt.Sprint("key-", (i*len(batch)+j)%keys), Limits: wideLimits, Ops: ops(record(1, 100))}
				}
				if _, err := d.Apply(t.Context(), batch); err != nil {
					t.Fatal(err)
				}
			}
			f := tab.figures(pool)
			t.Logf("%+v", f)
			if f.Updates < 900 || f.Hot < f.Updates*97/100 {
				t.Errorf("%d of %d updates were HOT, want at least 97 in 100", f.Hot, f.Updates)
			}
			if most := int64(keys/4+4) * 8192; f.TableBytes > most {
				t.Errorf("the table has %d bytes after 1000 updates of %d rows, want at most %d", f.TableBytes, keys, most)
			}
		})
	}
}

// While somebody holds a transaction open, nothing is cleared away: a row's old versions pile up. An Apply must not look
// at them all. Run it with THROTTLE_UPDATES=200000 for the figures of the operating document.
func TestLongTransaction(t *testing.T) {
	updates := 2000
	if text := os.Getenv("THROTTLE_UPDATES"); text != "" {
		var err error
		if updates, err = strconv.Atoi(text); err != nil {
			t.Fatalf("THROTTLE_UPDATES: %v", err)
		}
	}
	tab := newTable(t)
	pool := tab.single()
	d := tab.over(pool)
	if err := apply(d); err != nil {
		t.Fatal(err)
	}
	holder, err := tab.connect().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	before := tab.figures(pool)
	for tenth := range 10 {
		start := time.Now()
		for range updates / 10 {
			if err := apply(d); err != nil {
				t.Fatal(err)
			}
		}
		f := tab.figures(pool)
		t.Logf("%3d %%: %v an Apply, table %d kB, indexes %d kB", 10*(tenth+1), time.Since(start)/time.Duration(updates/10), f.TableBytes>>10, f.IndexBytes>>10)
	}
	f := tab.figures(pool)
	if read := f.IndexEntries - before.IndexEntries; read > int64(updates)*2 {
		t.Errorf("%d Applies read %d index entries, want one each: they look at dead versions", updates, read)
	}
	if each := (f.TableBytes - before.TableBytes) / int64(updates); each > 600 {
		t.Errorf("the table grew by %d bytes an update, want at most 600", each)
	}
	if each := (f.IndexBytes - before.IndexBytes) / int64(updates); each > 10 {
		t.Errorf("the indexes grew by %d bytes an update, want at most 10", each)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	tab.exec("VACUUM TABLE0")
	full := tab.figures(pool)
	for range updates / 4 {
		if err := apply(d); err != nil {
			t.Fatal(err)
		}
	}
	after := tab.figures(pool)
	t.Logf("after a vacuum: table %d kB, indexes %d kB; after %d more updates: table %d kB", full.TableBytes>>10, full.IndexBytes>>10, updates/4, after.TableBytes>>10)
	if after.TableBytes > full.TableBytes {
		t.Errorf("after the transaction ended and a vacuum the table still grows, from %d to %d bytes", full.TableBytes, after.TableBytes)
	}
}

// Pruning finds what it deletes by an index, and leaves the rest alone.
func TestPrune(t *testing.T) {
	tab := newTable(t)
	pool := tab.single()
	tab.options.PruneEvery = -1
	d := tab.over(pool)
	state := string(new(bucket.State).Encode(nil))
	insert := func(name string, n int, absentAt, pruneAt string) {
		tab.exec(fmt.Sprintf("INSERT INTO TABLE0 (key, state, absent_at, prune_at) SELECT '%s-' || i, '%s', %s, %s FROM generate_series(1, %d) AS i", name, state, absentAt, pruneAt, n))
	}
	insert("later", 20_000, "now() + interval '1 day'", "now() + interval '1 day'")
	insert("absent", 1234, "now() - interval '5 min'", "now() - interval '1 s'")
	insert("just absent", 10, "now() - interval '1 s'", "now() - interval '1 s'")
	insert("busy", 700, "now() + interval '1 min'", "now() - interval '1 s'")
	insert("for ever", 5, "NULL", "now() - interval '1 s'")
	before := tab.figures(pool)
	rows, err := d.Prune(t.Context())
	if err != nil || rows != 1234 {
		t.Errorf("Prune: %d rows, %v, want 1234", rows, err)
	}
	f := tab.figures(pool)
	if f.SeqScans != before.SeqScans {
		t.Errorf("Prune read the table from end to end %d times", f.SeqScans-before.SeqScans)
	}
	if read := f.IndexEntries - before.IndexEntries; read > 3*(1234+10+700+5) {
		t.Errorf("Prune read %d index entries to look at 1949 rows", read)
	}
	var left, due int
	if err := pool.QueryRow(t.Context(), tab.sql("SELECT count(*), count(*) FILTER (WHERE prune_at < now() + interval '9 min' AND key NOT LIKE 'just absent%') FROM TABLE0")).Scan(&left, &due); err != nil {
		t.Fatal(err)
	}
	if left != 20_715 || due != 0 {
		t.Errorf("%d rows are left, %d of them due, want 20715 and none", left, due)
	}
	if rows, err := d.Prune(t.Context()); err != nil || rows != 0 {
		t.Errorf("a second Prune: %d rows, %v, want none", rows, err)
	}
}

// Programs prune while others use the keys: nothing that is taken comes back.
func TestPruneWhileInUse(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	l := still(1e6)
	const keys, rounds = 8, 30
	var done atomic.Bool
	var users, pruners sync.WaitGroup
	for range 2 {
		pruner := tab.open(nil)
		pruners.Go(func() {
			for !done.Load() {
				// In the order of keys, as the driver writes them: two of these would lock each other out otherwise.
				tab.exec("WITH due AS (SELECT key FROM TABLE0 ORDER BY key FOR UPDATE) UPDATE TABLE0 SET prune_at = '-infinity' WHERE key IN (SELECT key FROM due)")
				if _, err := pruner.Prune(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for k := range keys {
		users.Go(func() {
			for range rounds {
				if _, err := d.Apply(t.Context(), []driver.Request{{Key: fmt.Sprint("key-", k), Limits: l, Ops: ops(record(1))}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	users.Wait()
	done.Store(true)
	pruners.Wait()
	for k := range keys {
		if level := levelOf(t, d, fmt.Sprint("key-", k), l); level < 1e6-rounds || level > 1e6-rounds+0.01 {
			t.Errorf("key %d has a level of %v, want %v", k, level, 1e6-rounds)
		}
	}
}

// A driver prunes by itself, and a row that is due again and again is looked at, not rewritten by each Apply.
func TestPrunesByItself(t *testing.T) {
	tab := newTable(t)
	tab.options.PruneEvery = 10 * time.Millisecond
	d := tab.open(nil)
	if err := apply(d); err != nil {
		t.Fatal(err)
	}
	tab.exec("UPDATE TABLE0 SET prune_at = '-infinity', absent_at = '-infinity'")
	c := tab.connect()
	deadline := time.After(10 * time.Second)
	for {
		var rows int
		if err := c.QueryRow(t.Context(), tab.sql("SELECT count(*) FROM TABLE0")).Scan(&rows); err != nil {
			t.Fatal(err)
		}
		if rows == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatal("the row is still there")
		default:
		}
	}
}

// A person can read the table.
func TestReadable(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	for _, key := range []string{"gpt-4.1", "naïve 日本", `back\slash`, "nul\x00", "bad\xff", ""} {
		if _, err := d.Apply(t.Context(), []driver.Request{{Key: key, Limits: wideLimits, Ops: ops(record(1, 100))}}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]bool{"gpt-4.1": true, "naïve 日本": true, `back\\slash`: true, `nul\x00`: true, `bad\xff`: true, "": true}
	rows, err := tab.connect().Query(t.Context(), tab.sql("SELECT key, state->'buckets'->0->>'resource', absent_at - now() > interval '30 s' FROM TABLE0"))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var key, resource string
		var later bool
		if err := rows.Scan(&key, &resource, &later); err != nil {
			t.Fatal(err)
		}
		n++
		if !want[key] || resource != "requests" || !later {
			t.Errorf("row %q: resource %q, absent later: %v", key, resource, later)
		}
	}
	if rows.Err() != nil || n != len(want) {
		t.Errorf("%d rows, %v, want %d", n, rows.Err(), len(want))
	}
}

// Keys come a page at a time, each once, and what no driver has stored isn't among them.
func TestKeysOfManyPages(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	const keys = 2500
	tab.exec(fmt.Sprintf("INSERT INTO TABLE0 (key, state, absent_at, prune_at) SELECT 'key-' || i, '%s', now() + interval '1 day', now() + interval '1 day' FROM generate_series(1, %d) AS i", new(bucket.State).Encode(nil), keys))
	tab.exec(`UPDATE TABLE0 SET key = key || '\by hand' WHERE key IN ('key-1', 'key-1000', 'key-2500')`)
	seen := map[string]bool{}
	for key, err := range d.Keys(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if seen[key] || strings.Contains(key, "hand") {
			t.Errorf("%q was listed, want each key once, and only what the driver can have stored", key)
		}
		seen[key] = true
	}
	if len(seen) != keys-3 {
		t.Errorf("%d keys were listed, want %d", len(seen), keys-3)
	}
	n := 0
	for range d.Keys(t.Context()) {
		if n++; n == 1500 {
			break
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for key, err := range d.Keys(t.Context()) {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("a closed driver lists %q, %v, want ErrClosed", key, err)
		}
	}
}
