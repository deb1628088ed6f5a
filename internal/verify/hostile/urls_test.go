package hostile_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
)

// FuzzOpen gives URLs to the drivers and the clients beneath them, up to where they would connect. No error shows the
// password.
func FuzzOpen(f *testing.F) {
	schemes := driver.Schemes()
	for i := range schemes {
		for _, rest := range []string{
			"host:6379/0?prefix=p&timeout=1s&db=1&pool_size=2&read_timeout=1s", "host/db?schema=s&table=t&sslmode=disable&pool_max_conns=2&notify=1&migrate=0&async_commit=true&prune=-1s",
			"s:26379/mymaster?addrs=a,b:1,[::1]&sentinel_password=x&db=3", "h:99999999/x", "[::1]:1,h2:2/db?target_session_attrs=any&connect_timeout=x", "?addr=h2:1&addr=h3",
			"h?options=-c%20a=b&service=x&sslrootcert=system", "h/%zz?a=%zz", "h?schema=%00", "/a?host=/tmp&user=q", "h?max_retries=-1&protocol=4&client_name=%0a",
		} {
			f.Add(uint8(i), rest)
		}
	}
	const secret = "correcthorse"
	f.Fuzz(func(t *testing.T, scheme uint8, rest string) {
		for _, unsafe := range []string{"idle", "file", "cert", "key"} { // dials at once, or reads a file of any size
			if strings.Contains(strings.ToLower(rest), unsafe) {
				return
			}
		}
		raw := schemes[int(scheme)%len(schemes)] + "://user:" + secret + "@" + rest
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d, err := driver.Open(ctx, raw)
		if err == nil {
			if err := d.Close(); err != nil {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		var open *driver.OpenError
		if !errors.As(err, &open) || d != nil {
			t.Errorf("%q: %T and %v", raw, err, d)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}
