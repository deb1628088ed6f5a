package postgres

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tokenthrottle/throttle/bucket"
)

func pgError(severity, code string) error {
	return fmt.Errorf("wrapped: %w", &pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: severity, Code: code})
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err      error
		class    class
		definite bool // in the second round trip: nothing was applied
	}{
		{pgError("ERROR", "40001"), conflict, true},
		{pgError("ERROR", "40P01"), conflict, true},
		{pgError("ERROR", "23505"), conflict, true},
		{errRolledBack, conflict, true},
		{pgError("ERROR", "26000"), stale, true},
		{pgError("ERROR", "42P05"), stale, true},
		{pgError("ERROR", "42P01"), fatal, true},
		{pgError("ERROR", "42501"), fatal, true},
		{pgError("ERROR", "57014"), fatal, true},
		{pgError("ERROR", "25006"), fatal, true},
		{pgError("FATAL", "28P01"), fatal, false},
		{pgError("FATAL", "3D000"), fatal, false},
		{pgError("FATAL", "53300"), broken, false},
		{pgError("FATAL", "57P01"), broken, false},
		{pgError("FATAL", "57P03"), broken, false},
		{pgError("FATAL", "08P01"), broken, false}, // pgbouncer's
		{pgError("ERROR", "08P01"), broken, false},
		{pgError("FATAL", "XX000"), broken, false},
		{pgError("PANIC", "XX000"), broken, false},
		{io.ErrUnexpectedEOF, broken, false},
		{errTimeout, broken, false},
		{&stateError{"k", &bucket.VersionError{Version: 2}}, fatal, false},
	} {
		if got := classify(c.err); got != c.class {
			t.Errorf("%v: class %d, want %d", c.err, got, c.class)
		}
		if got := isDefinite(c.err); got != c.definite {
			t.Errorf("%v: definite: %v, want %v", c.err, got, c.definite)
		}
	}
}

// Each remedy is for the table that the options name, and what has none is passed on as it is.
func TestRemedies(t *testing.T) {
	o := Options{Schema: "s", Table: `t"t`}
	for _, err := range []error{pgError("ERROR", "42P01"), pgError("ERROR", "42703"), pgError("ERROR", "42501"), pgError("ERROR", "55P03")} {
		if text := o.storeError("apply", err).Error(); !strings.Contains(text, `"s"."t""t"`) {
			t.Errorf("%q doesn't name the table", text)
		}
	}
	for code, want := range map[string]string{"53100": "disk is full", "57014": "statement_timeout", "XX001": ""} {
		if err := o.storeError("apply", pgError("ERROR", code)); !strings.Contains(err.Remedy, want) || want == "" && err.Remedy != "" {
			t.Errorf("SQLSTATE %s: remedy %q, want one that says %q", code, err.Remedy, want)
		}
	}
	odd := errors.New("odd")
	if err := o.storeError("apply", odd); err.Remedy != "" || !errors.Is(err, odd) {
		t.Errorf("%v: remedy %q, want none", err, err.Remedy)
	}
}

// An error of ours says what was the matter.
func TestErrorTexts(t *testing.T) {
	lost := errors.New("lost")
	for _, c := range []struct {
		err  error
		want string
	}{
		{&ContentionError{3, 1500 * time.Millisecond, lost}, "3 attempts in 1.5s lost to other transactions: lost"},
		{&PrivilegeError{`"s"."t"`, []string{"INSERT", "DELETE"}}, `the role may not INSERT, DELETE on "s"."t"`},
		{&EncodingError{"LATIN1"}, "the database's encoding is LATIN1"},
		{&stateError{"k\n", lost}, `state of key "k\n": lost`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestSQL(t *testing.T) {
	text, err := SQL(nil)
	if err != nil || text != schema {
		t.Errorf("SQL(nil) is not the file as it is: %v", err)
	}
	text, err = SQL(&Options{Schema: `odd"schema`, Table: "t", Unlogged: true})
	if err != nil || strings.Contains(text, "public") || strings.Count(text, `"odd""schema"."t"`) != 3 || strings.Count(text, "CREATE UNLOGGED TABLE") != 1 {
		t.Errorf("SQL: %v\n%s", err, text)
	}
}
