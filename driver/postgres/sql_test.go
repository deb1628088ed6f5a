package postgres

import (
	"strings"
	"testing"
	"time"
)

// The server's own timeouts follow the option. They are never 0, which would mean that there are none.
func TestTransactionsAreBounded(t *testing.T) {
	for timeout, want := range map[time.Duration][2]string{
		4 * time.Second:  {"'8001'", "'1601'"},
		time.Minute:      {"'120001'", "'24001'"},
		time.Microsecond: {"'1'", "'1'"},
	} {
		text := newTexts(&Options{Schema: "s", Table: "t", Timeout: timeout}).setUp.text
		for i, name := range []string{"idle_in_transaction_session_timeout", "lock_timeout"} {
			if set := "set_config('" + name + "', " + want[i] + ", true)"; !strings.Contains(text, set) {
				t.Errorf("with a timeout of %v the settings lack %s: %s", timeout, set, text)
			}
		}
	}
}

// AsyncCommit is for the transaction alone, and only where it is asked for.
func TestAsyncCommit(t *testing.T) {
	for _, async := range []bool{false, true} {
		text := newTexts(&Options{Schema: "s", Table: "t", Timeout: time.Second, AsyncCommit: async}).setUp.text
		if got := strings.Contains(text, "set_config('synchronous_commit', 'off', true)"); got != async {
			t.Errorf("AsyncCommit %v: %s", async, text)
		}
	}
}
