// Package leaks checks that nothing the module starts outlives what it was started for.
package leaks

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	_ "github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestNothingIsLeft(t *testing.T) {
	for name, url := range map[string]func(t testing.TB) string{
		"memory": func(testing.TB) string { return "memory://" },
		"bolt":   func(t testing.TB) string { return "bolt://" + filepath.Join(t.TempDir(), "limits.db") },
		"redis":  testservice.Redis,
		"postgres": func(t testing.TB) string {
			url := testservice.Postgres(t)
			return url + "&migrate=true&schema=" + testservice.Schema(t, url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := url(t)
			before := goleak.IgnoreCurrent()
			use(t, u)
			goleak.VerifyNone(t, before)
		})
	}
}

// use does everything that starts something: waits that are granted, cancelled and closed, batches, notifications.
func use(t *testing.T, url string) {
	ctx := context.Background()
	d, err := driver.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	family := t.Name() + time.Now().String()
	models := throttle.Shared(family, throttle.PerSecond("tokens", 1000))
	a, b := throttle.New(d, models), throttle.New(d, models)
	var wg sync.WaitGroup
	for _, l := range []*throttle.Limiter{a, b} {
		for i := range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, time.Duration(i)*20*time.Millisecond)
				defer cancel()
				r, err := l.Acquire(ctx, "m", throttle.Usage{"tokens": 400})
				switch {
				case err == nil:
					if err := r.Settle(ctx, throttle.Usage{"tokens": 100}); err != nil {
						t.Errorf("settle: %v", err)
					}
				case !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("acquire: %v", err)
				}
			})
		}
	}
	wg.Wait()
	if err := a.Record(ctx, "m", throttle.Usage{"tokens": 5000}); err != nil {
		t.Error(err)
	}
	for range 10 {
		wg.Go(func() {
			if _, err := a.Acquire(ctx, "m", throttle.Usage{"tokens": 1000}); !errors.Is(err, throttle.ErrClosed) {
				t.Errorf("a wait that Close ends: %v", err)
			}
		})
	}
	for {
		s, err := a.Status(ctx, "m")
		if err != nil {
			t.Fatal(err)
		}
		if s.Waiting == 10 {
			break
		}
	}
	a.Close()
	b.Close()
	wg.Wait()
}
