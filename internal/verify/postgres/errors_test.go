package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// wantStoreError holds an error to what a person needs: the driver, the server's own code, and a remedy that says word.
func wantStoreError(t *testing.T, err error, code, word string) {
	t.Helper()
	var store *driver.StoreError
	if !errors.As(err, &store) {
		t.Errorf("error %v, want a *driver.StoreError", err)
		return
	}
	var pg *pgconn.PgError
	if code != "" && (!errors.As(err, &pg) || pg.Code != code) {
		t.Errorf("error %v, want one of SQLSTATE %s", err, code)
	}
	if store.Driver != "postgres" || !strings.Contains(store.Remedy, word) {
		t.Errorf("error %v: remedy %q, want one that says %q", err, store.Remedy, word)
	}
	if errors.Is(err, driver.ErrUnknownOutcome) {
		t.Errorf("error %v: want one that says that nothing was applied", err)
	}
}

var one = []driver.Request{{Key: "k", Limits: still(1000), Ops: ops(record(1))}}

func apply(d driver.Driver) error {
	_, err := d.Apply(context.Background(), one)
	return err
}

func TestTableMissing(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTable(t)
	d := tab.open(nil)
	if err := apply(d); err != nil {
		t.Fatal(err)
	}
	tab.exec("DROP TABLE TABLE0")
	wantStoreError(t, apply(d), "42P01", "Migrate")
	_, err := driver.Open(t.Context(), withQuery(t, url, "schema", tab.schema))
	wantStoreError(t, err, "42P01", "Migrate")
	_, err = driver.Open(t.Context(), withQuery(t, url, "schema", "no such schema"))
	wantStoreError(t, err, "42P01", "migrate=true")
	_, err = driver.Open(t.Context(), withQuery(t, url, "schema", tab.schema, "notify", "true"))
	wantStoreError(t, err, "42P01", "Migrate")
	for _, err := range d.Keys(t.Context()) {
		wantStoreError(t, err, "42P01", "Migrate")
	}
	_, err = d.Prune(t.Context())
	wantStoreError(t, err, "42P01", "Migrate")

	tab.exec("CREATE TABLE TABLE0 (key text, value int)")
	_, err = driver.Open(t.Context(), withQuery(t, url, "schema", tab.schema))
	wantStoreError(t, err, "42703", "another name")

	// What was missing is found without opening again.
	tab.exec("DROP TABLE TABLE0")
	if err := postgres.Migrate(t.Context(), tab.connect(), &tab.options); err != nil {
		t.Fatal(err)
	}
	if err := apply(d); err != nil {
		t.Errorf("after the table was created again: %v", err)
	}
}

// asRole makes a role with the given rights, and a pool that connects as it.
func asRole(tab *table, grants string) *pgxpool.Pool {
	role := tab.schema + "_role"
	tab.exec("CREATE ROLE " + role + " LOGIN PASSWORD 'secret'; " + strings.ReplaceAll(grants, "ROLE", role))
	tab.tb.Cleanup(func() { tab.exec("DROP OWNED BY " + role + "; DROP ROLE " + role) })
	return tab.pool(func(c *pgxpool.Config) { c.ConnConfig.User, c.ConnConfig.Password = role, "secret" })
}

// The rights that the operating document names are enough for all that a driver does.
func TestRightsThatSuffice(t *testing.T) {
	tab := newTable(t)
	pool := asRole(tab, "GRANT USAGE ON SCHEMA "+tab.schema+" TO ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE0 TO ROLE")
	if err := postgres.Migrate(t.Context(), pool, &tab.options); err != nil {
		t.Errorf("Migrate of what is there: %v", err)
	}
	n, err := postgres.NewNotifying(t.Context(), pool, &tab.options)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for range 2 {
		if err := apply(n); err != nil {
			t.Error(err)
		}
	}
	for _, err := range n.Keys(t.Context()) {
		if err != nil {
			t.Error(err)
		}
	}
	tab.exec("UPDATE TABLE0 SET prune_at = '-infinity', absent_at = '-infinity'")
	if rows, err := n.Prune(t.Context()); rows != 1 || err != nil {
		t.Errorf("Prune: %d rows, %v, want 1", rows, err)
	}
	awaitNotification(t, n, n)
}

func TestRightsMissing(t *testing.T) {
	tab := newTable(t)
	pool := asRole(tab, "GRANT USAGE ON SCHEMA "+tab.schema+" TO ROLE; GRANT SELECT, UPDATE ON TABLE0 TO ROLE")
	_, err := postgres.New(t.Context(), pool, &tab.options)
	wantStoreError(t, err, "", "GRANT INSERT, DELETE")
	var missing *postgres.PrivilegeError
	if !errors.As(err, &missing) || len(missing.Missing) != 2 {
		t.Errorf("error %v, want a *postgres.PrivilegeError about INSERT and DELETE", err)
	}
	role := tab.schema + "_role"
	tab.exec("GRANT INSERT ON TABLE0 TO " + role)
	without := tab.options
	without.PruneEvery = -1
	d, err := postgres.New(t.Context(), pool, &without)
	if err != nil {
		t.Fatalf("a driver that doesn't prune needs no DELETE: %v", err)
	}
	defer d.Close()
	if err := apply(d); err != nil {
		t.Error(err)
	}
	tab.exec("REVOKE UPDATE ON TABLE0 FROM " + role)
	wantStoreError(t, apply(d), "42501", "GRANT")
	tab.exec("REVOKE ALL ON SCHEMA " + tab.schema + " FROM " + role)
	_, err = postgres.New(t.Context(), pool, &without)
	wantStoreError(t, err, "42501", "GRANT")
	newTable := tab.options
	newTable.Table = "other"
	wantStoreError(t, postgres.Migrate(t.Context(), pool, &newTable), "42501", "GRANT")
}

// States that come behind one that can't be read are read past, and the connection is good for what follows.
func TestStatesBehindABadOne(t *testing.T) {
	tab := newTable(t)
	d := tab.over(tab.single())
	var batch []driver.Request
	for i := range 5 {
		batch = append(batch, driver.Request{Key: fmt.Sprint("key-", i), Limits: still(1000), Ops: ops(record(1))})
	}
	if _, err := d.Apply(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	tab.exec(`UPDATE TABLE0 SET state = '{"version":1,"at":"yesterday"}' WHERE key IN ('key-0', 'key-3')`)
	for range 2 {
		_, err := d.Apply(t.Context(), batch)
		wantStoreError(t, err, "", `delete the row whose key is "key-`)
	}
	for _, key := range []string{"key-1", "key-2", "key-4"} {
		if level := levelOf(t, d, key, still(1000)); level < 999 || level > 999.01 {
			t.Errorf("%s has a level of %v, want 999: nothing of the batch was applied", key, level)
		}
	}
}

func TestStateOfAnotherVersion(t *testing.T) {
	tab := newTable(t)
	d := tab.open(nil)
	if err := apply(d); err != nil {
		t.Fatal(err)
	}
	tab.exec(`UPDATE TABLE0 SET state = replace(state::text, '"version":1,', '"version":99,')::json`)
	err := apply(d)
	wantStoreError(t, err, "", "upgrade")
	var version *bucket.VersionError
	if !errors.As(err, &version) || version.Version != 99 {
		t.Errorf("error %v, want a *bucket.VersionError of version 99", err)
	}
	tab.exec(`UPDATE TABLE0 SET state = '{"version":1,"at":"yesterday"}'`)
	wantStoreError(t, apply(d), "", `delete the row whose key is "k"`)
	tab.exec("DELETE FROM TABLE0")
	if err := apply(d); err != nil {
		t.Error(err)
	}
}

// Somebody who locks the table makes an Apply fail in time, and leaves no server processes that wait.
func TestLocked(t *testing.T) {
	tab := newTableAt(t, testservice.Postgres(t), postgres.Options{Timeout: time.Second})
	d := tab.open(nil)
	if err := apply(d); err != nil {
		t.Fatal(err)
	}
	for _, lock := range []string{"LOCK TABLE TABLE0 IN ACCESS EXCLUSIVE MODE", "SELECT FROM TABLE0 FOR UPDATE"} {
		tx, err := tab.connect().Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), tab.sql(lock)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		wantStoreError(t, apply(d), "55P03", "lock")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: it took %v", lock, took)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
		tab.settle()
		if err := apply(d); err != nil {
			t.Errorf("after %s: %v", lock, err)
		}
	}
	if level := levelOf(t, d, "k", still(1000)); level < 997 || level > 997.01 {
		t.Errorf("the level is %v, want 997: what failed was not applied", level)
	}
}

// A server of its own goes through what servers go through.
func TestServerTroubles(t *testing.T) {
	server := testservice.StartPostgres(t, "-c", "max_connections=6", "-c", "superuser_reserved_connections=0", "-c", "max_wal_senders=0")
	tab := newTableAt(t, server.URL, postgres.Options{Timeout: time.Second})
	d := tab.open(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = "throttle test" })
	if err := apply(d); err != nil {
		t.Fatal(err)
	}

	t.Run("too many connections", func(t *testing.T) {
		late := tab.pool(nil) // has no connection yet
		var all []*pgx.Conn
		for {
			c, err := pgx.Connect(t.Context(), server.URL)
			if err != nil {
				break
			}
			all = append(all, c)
		}
		_, err := postgres.New(t.Context(), late, &tab.options)
		wantStoreError(t, err, "53300", "max_connections")
		if err := apply(d); err != nil {
			t.Errorf("a driver that has its connection needs no other: %v", err)
		}
		// It loses it to somebody who was waiting. The slot is free only once the backend has ended.
		tab.execOn(all[0], "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'throttle test'")
		for taken := false; ; {
			c, err := pgx.Connect(t.Context(), server.URL)
			if err != nil && taken {
				break
			}
			if err == nil {
				all, taken = append(all, c), true
			}
		}
		start := time.Now()
		wantStoreError(t, apply(d), "53300", "max_connections")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, c := range all {
			c.Close(context.Background())
		}
		if err := apply(d); err != nil {
			t.Errorf("when connections were free again: %v", err)
		}
	})
	t.Run("encoding", func(t *testing.T) {
		tab.exec("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0")
		pool := tab.pool(func(c *pgxpool.Config) { c.ConnConfig.Database = "latin" })
		_, err := postgres.New(t.Context(), pool, &tab.options)
		wantStoreError(t, err, "", "UTF8")
	})
	t.Run("read-only", func(t *testing.T) {
		d := tab.open(func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on" })
		wantStoreError(t, apply(d), "25006", "primary")
	})
	t.Run("stopped", func(t *testing.T) {
		server.Stop()
		wantStoreError(t, apply(d), "", "listens")
		_, err := postgres.New(t.Context(), tab.pool(nil), &tab.options)
		wantStoreError(t, err, "", "listens")
		server.Restart()
		if err := apply(d); err != nil {
			t.Errorf("after the server came back: %v", err)
		}
	})
	t.Run("killed", func(t *testing.T) {
		server.Kill()
		// The server process of a connection may outlive the others a little, and die over a commit.
		if err := apply(d); err != nil && !errors.Is(err, driver.ErrUnknownOutcome) {
			wantStoreError(t, err, "", "")
		}
		server.Restart()
		if err := apply(d); err != nil {
			t.Errorf("after the server came back: %v", err)
		}
	})
	t.Run("standby", func(t *testing.T) {
		var dir string
		if err := tab.connect().QueryRow(t.Context(), "SHOW data_directory").Scan(&dir); err != nil {
			t.Fatal(err)
		}
		signal := filepath.Join(dir, "standby.signal")
		if err := os.WriteFile(signal, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		wantStoreError(t, apply(d), "0A000", "primary")
		if err := os.Remove(signal); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		if err := apply(d); err != nil {
			t.Errorf("after the server became a primary: %v", err)
		}
	})
	want := 1000 - float64(d.Stats().Batches)
	if level := levelOf(t, d, "k", still(1000)); level < want || level > want+0.01 {
		t.Errorf("the level is %v, want %v: what the driver said it did", level, want)
	}
}

// A server that says something before it lets anybody in.
func TestNotLetIn(t *testing.T) {
	for code, word := range map[string]string{"57P03": "starting or shutting down", "53300": "max_connections", "28P01": "password", "3D000": "create the database", "42704": "option of the URL"} {
		t.Run(code, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					b := pgproto3.NewBackend(c, c)
					if _, err := b.ReceiveStartupMessage(); err == nil {
						b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: "no"})
						b.Flush()
					}
					c.Close()
				}
			}()
			_, err = driver.Open(t.Context(), fmt.Sprintf("postgres://me:secret@%s/db?sslmode=disable", l.Addr()))
			wantStoreError(t, err, code, word)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v shows the password", err)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	url := testservice.Postgres(t)
	tab := newTable(t)
	d, err := driver.Open(t.Context(), withQuery(t, url, "schema", tab.schema, "timeout", "2s", "async_commit", "true", "prune", "5m", "notify", "true", "application_name", "a name", "pool_max_conns", "3"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, ok := d.(driver.Notifier); !ok {
		t.Error("with notify=true the driver is no driver.Notifier")
	}
	if err := apply(d); err != nil {
		t.Error(err)
	}
	plain, err := driver.Open(t.Context(), strings.Replace(withQuery(t, url, "schema", tab.schema), "postgres://", "postgresql://", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, ok := plain.(driver.Notifier); ok {
		t.Error("without notify=true the driver is a driver.Notifier: a limiter would poll less often")
	}
	for _, bad := range []struct{ option, value, word string }{
		{"timeout", "soon", "timeout"},
		{"migrate", "perhaps", "migrate"},
		{"pool_max_conns", "many", "pool_max_conns"},
		{"no_such_option", "1", "option of the URL"},
		{"schema", strings.Repeat("s", 64), "Schema"},
	} {
		if _, err := driver.Open(t.Context(), withQuery(t, url, bad.option, bad.value)); err == nil || !strings.Contains(err.Error(), bad.word) {
			t.Errorf("%s=%s: error %v, want one that says %q", bad.option, bad.value, err, bad.word)
		}
	}
}

func TestClosedPool(t *testing.T) {
	tab := newTable(t)
	pool := tab.pool(nil)
	d, err := postgres.New(t.Context(), pool, &tab.options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	pool.Close()
	start := time.Now()
	wantStoreError(t, apply(d), "", "close the pool")
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

// Somebody's trigger, or row security, keeps an update from the row without an error. Nothing may be granted then: it
// would be granted for ever.
func TestUpdatesAreKeptBack(t *testing.T) {
	for name, hinder := range map[string]string{
		"trigger": `CREATE FUNCTION FUNCTION0() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keeps BEFORE UPDATE ON TABLE0 FOR EACH ROW EXECUTE FUNCTION FUNCTION0()`,
		"row security": `ALTER TABLE TABLE0 ENABLE ROW LEVEL SECURITY; ALTER TABLE TABLE0 FORCE ROW LEVEL SECURITY;
CREATE POLICY looks ON TABLE0 FOR SELECT USING (true); CREATE POLICY adds ON TABLE0 FOR INSERT WITH CHECK (true)`,
	} {
		t.Run(name, func(t *testing.T) {
			tab := newTable(t)
			pool := tab.pool(nil)
			if name == "row security" {
				pool = asRole(tab, "GRANT USAGE ON SCHEMA "+tab.schema+" TO ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE0 TO ROLE")
			}
			d := tab.over(pool)
			request := []driver.Request{{Key: "k", Limits: still(10), Ops: ops(acquire(5))}}
			if _, err := d.Apply(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			tab.exec(strings.ReplaceAll(hinder, "FUNCTION0", pgx.Identifier{tab.schema, "keeps"}.Sanitize()))
			_, err := d.Apply(t.Context(), request)
			var store *driver.StoreError
			if !errors.As(err, &store) || !strings.Contains(store.Remedy, name) {
				t.Errorf("error %v, want a StoreError that tells of a %s", err, name)
			}
		})
	}
}
