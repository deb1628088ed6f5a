package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/driver"
)

// A server that takes the connection and doesn't speak Postgres, such as Redis on its own port, must not end in a bare
// "context deadline exceeded": the error says what was waited for and what to look at.
func TestOpenOfWhatDoesNotAnswer(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	for _, migrate := range []string{"false", "true"} {
		_, err := driver.Open(t.Context(), "postgres://"+mute.Addr().String()+"/db?sslmode=disable&timeout=200ms&migrate="+migrate)
		store, ok := as[*driver.StoreError](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("migrate=%s: %v, want a *driver.StoreError about time", migrate, err)
			continue
		}
		for _, want := range []string{mute.Addr().String(), "connect"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("migrate=%s: %v, want one that says %q", migrate, err, want)
			}
		}
		if !strings.Contains(store.Remedy, "something else than Postgres") {
			t.Errorf("migrate=%s: remedy %q", migrate, store.Remedy)
		}
	}
}
