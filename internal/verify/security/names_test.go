package security

import (
	"errors"
	"fmt"
	neturl "net/url"
	"path/filepath"
	"testing"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) { testservice.Main(m) }

// hostile are names by which a tenant may try to reach another's limits, in this fleet or in one beside it.
func hostile(prefix, table string) []string {
	return []string{
		"", " victim", "victim ", "victim\x00", "\x00victim", "Victim", "victim}", "{victim", "{victim}", "victim}{", "}:{victim", "vict\xffim",
		prefix + "victim", prefix + "{victim}", "other:{victim}", "}" + prefix + "{victim", "*", "vict?m", "[v]ictim", "victim\r\nDEL x",
		"victim\n", "victim'; DROP TABLE " + table + "; --", `victim"`, `victim\`, `victim\x00`, `\x76ictim`, "$1", "%s", "victim%00", "../victim",
		"@batch@victim", "@@batch@victim", "victim@batch",
	}
}

// Whatever a tenant calls its model, it takes nothing from another's, nor from a fleet whose prefix or table begins alike.
func TestHostileNamesOnEveryDriver(t *testing.T) {
	for name, urls := range map[string]func(t *testing.T) (url, beside, prefix, table string){
		"memory": func(*testing.T) (string, string, string, string) { return "memory://", "memory://", "p:", "t" },
		"bolt": func(t *testing.T) (string, string, string, string) {
			dir := t.TempDir()
			return "bolt://" + filepath.Join(dir, "limits.db"), "bolt://" + filepath.Join(dir, "limits.db2"), "p:", "keys"
		},
		"redis": func(t *testing.T) (string, string, string, string) {
			url := testservice.Redis(t)
			prefix := testservice.Prefix(t, url)
			return url + "?prefix=" + prefix, url + "?prefix=" + prefix + "other:", prefix, "t"
		},
		"postgres": func(t *testing.T) (string, string, string, string) {
			url := testservice.Postgres(t)
			url += "&migrate=true&schema=" + testservice.Schema(t, url)
			return url + "&table=t", url + "&table=tother", "p:", "t"
		},
	} {
		t.Run(name, func(t *testing.T) {
			url, beside, prefix, table := urls(t)
			models := throttle.Static(throttle.PerDay("tokens", 100))
			open := func(url string, models throttle.Models) *throttle.Limiter {
				d, err := driver.Open(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { d.Close() })
				l := throttle.New(d, models)
				t.Cleanup(func() { l.Close() })
				return l
			}
			mine, other := open(url, models), open(beside, models)
			for _, l := range []*throttle.Limiter{mine, other} {
				if err := l.Record(t.Context(), "victim", throttle.Usage{"tokens": 40}); err != nil {
					t.Fatal(err)
				}
			}
			for i, tenant := range hostile(prefix, table) {
				r, err := mine.TryAcquire(t.Context(), tenant, throttle.Usage{"tokens": 100})
				if err != nil {
					t.Errorf("%q finds something taken: %v", tenant, err)
				} else if err := r.Settle(t.Context(), throttle.Usage{"tokens": float64(100 + i)}); err != nil {
					t.Error(err)
				}
			}
			for where, l := range map[string]*throttle.Limiter{"here": mine, "beside": other} {
				s, err := l.Status(t.Context(), "victim")
				if err != nil {
					t.Fatal(err)
				}
				if level := s.Buckets[0].Level; level < 60 || level > 60.1 {
					t.Errorf("the victim %s has %g tokens, want 60", where, level)
				}
			}
		})
	}
}

// Two fleets in one Redis are apart, whatever their models are called, unless one's prefix begins with the other's and a
// brace: that hazard docs/security.md tells of, since no test can rule it out.
func TestAPrefixWithABrace(t *testing.T) {
	url := testservice.Redis(t)
	for _, c := range []struct {
		mine, other string
		apart       bool
	}{{"x:", "y:{app}:", true}, {"x:", "x:app:", true}, {"{x}:", "{x}:app:", true}, {"x:", "x:{app}:", false}} {
		prefix := testservice.Prefix(t, url)
		open := func(own string) *throttle.Limiter {
			d, err := driver.Open(t.Context(), url+"?prefix="+neturl.QueryEscape(prefix+own))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			l := throttle.New(d, throttle.Static(throttle.PerDay("tokens", 100)))
			t.Cleanup(func() { l.Close() })
			return l
		}
		mine, other := open(c.mine), open(c.other)
		for _, model := range append(hostile(prefix+c.mine, "t"), "app}:{victim", "app:{victim", "{app}:{victim", "app}:victim") {
			if err := mine.Record(t.Context(), model, throttle.Usage{"tokens": 70}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := other.TryAcquire(t.Context(), "victim", throttle.Usage{"tokens": 100})
		if apart := err == nil; apart != c.apart {
			t.Errorf("prefixes %s and %s: apart %t, want %t: %v", c.mine, c.other, apart, c.apart, err)
		}
	}
}

// Names without end cost a bounded number of families in the process, and a typed error beyond it.
func TestFamiliesAreBounded(t *testing.T) {
	const most = 50
	l := throttle.New(memory.New(), throttle.Static(throttle.PerDay("tokens", 100)), throttle.MaxFamilies(most))
	defer l.Close()
	refused := 0
	for i := range 10 * most {
		var full *throttle.FullError
		_, err := l.Acquire(t.Context(), fmt.Sprint("tenant ", i), throttle.Usage{"tokens": 1})
		switch {
		case errors.As(err, &full) && full.What == "families" && full.Max == most:
			refused++
		case err != nil:
			t.Fatal(err)
		}
		if n := len(l.Families()); n > most {
			t.Fatalf("%d families", n)
		}
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
}
