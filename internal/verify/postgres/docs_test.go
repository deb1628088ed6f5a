package postgres

import (
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/postgres"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

const operating = "../../../docs/operating-postgres.md"

// The SQL that the operating document prints is what Migrate runs, and its query for people works.
func TestDocumentSQL(t *testing.T) {
	text, err := os.ReadFile(operating)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllSubmatch(text, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of SQL, want 3: the table, the rights, the query", len(blocks))
	}
	sql, err := postgres.SQL(nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(blocks[0][1]) != sql {
		t.Error("the document prints other SQL than postgres.SQL returns")
	}

	// All of it, in a schema of the test's own.
	url := testservice.Postgres(t)
	tab := &table{tb: t, url: url, schema: testservice.Schema(t, url)}
	tab.options.Schema = tab.schema
	here := strings.NewReplacer(`"public"`, tab.schema, "public", tab.schema, "app;", tab.schema+"_app;").Replace
	tab.exec("CREATE ROLE " + tab.schema + "_app")
	t.Cleanup(func() { tab.exec("DROP OWNED BY " + tab.schema + "_app; DROP ROLE " + tab.schema + "_app") })
	tab.exec(here(string(blocks[0][1])))
	tab.exec(here(string(blocks[1][1])))
	d := tab.open(nil)
	if _, err := d.Apply(t.Context(), []driver.Request{{Key: "k", Limits: wideLimits, Ops: ops(record(1, 100))}}); err != nil {
		t.Fatal(err)
	}
	rows, err := tab.connect().Query(t.Context(), here(string(blocks[2][1])))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		n++
	}
	if rows.Err() != nil || n != 3 {
		t.Errorf("the query shows %d rows, %v, want one for each of three quotas", n, rows.Err())
	}
}

// Each option of the document's table is one of the driver's.
func TestDocumentOptions(t *testing.T) {
	text, err := os.ReadFile(operating)
	if err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(string(text), "Two fleets that must not")
	options := regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(strings.Join(regexp.MustCompile("(?m)^\\| `.*?\\|").FindAllString(table, -1), "\n"), -1)
	if len(options) != 8 {
		t.Errorf("%d options in the table, want 8", len(options))
	}
	q := url.Values{}
	for _, o := range options {
		q.Set(o[1], "") // malformed for all but two, which are text
	}
	q.Del("schema")
	q.Del("table")
	_, err = driver.Open(t.Context(), "postgres://127.0.0.1:1/x?"+q.Encode())
	if err == nil {
		t.Fatal("options without a value were accepted")
	}
	for _, o := range options {
		if !strings.Contains(err.Error(), o[1]) {
			t.Errorf("%s is no option of the driver's: %v", o[1], err)
		}
	}
}
