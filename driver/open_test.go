package driver_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// stub is a driver that only tells how it was opened.
type stub struct {
	driver.Driver
	url     string
	timeout time.Duration
	pool    int
	tls     bool
	prefix  string
}

var errStub = errors.New("no such host")

func init() {
	driver.Register("stub", func(ctx context.Context, u *url.URL) (driver.Driver, error) {
		q := driver.NewQuery(u)
		s := &stub{
			url: u.String(), timeout: q.Duration("timeout", time.Second), pool: q.Int("pool", 8, 1),
			tls: q.Bool("tls", true), prefix: q.String("prefix", "throttle"),
		}
		if err := q.Err(); err != nil {
			return nil, err
		}
		if u.Host == "unreachable" {
			return nil, errStub
		}
		return s, ctx.Err()
	})
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		url  string
		want stub
	}{
		{"stub://host", stub{timeout: time.Second, pool: 8, tls: true, prefix: "throttle"}},
		{"stub://host/a/b?timeout=0&pool=1&tls=false&prefix=", stub{}},
		{"stub:opaque?prefix=a%26b%20c&timeout=1h30m&pool=999", stub{timeout: 90 * time.Minute, pool: 999, tls: true, prefix: "a&b c"}},
	} {
		d, err := driver.Open(t.Context(), c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		got := d.(*stub)
		if c.want.pool == 0 {
			c.want.pool = 1
		}
		if got.url != c.url || got.timeout != c.want.timeout || got.pool != c.want.pool || got.tls != c.want.tls || got.prefix != c.want.prefix {
			t.Errorf("%s was opened as %+v", c.url, got)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		name, url string
		say       []string // what the text must hold
		not       string   // what it must not hold
	}{
		{"no URL", "stub://host/%zz", []string{"not a URL", "memory", "stub"}, "%zz"},
		{"no URL, with a password", "stub://me:secret@host:port/%zz", []string{"not a URL"}, "secret"},
		{"no scheme", "limits.db", []string{`"limits.db"`, `unknown scheme ""`, "memory, stub"}, ""},
		{"an unknown scheme", "etcd://me:secret@host", []string{`unknown scheme "etcd"`, "memory, stub", "import", "me:xxxxx@host"}, "secret"},
		{"nothing", "", []string{`unknown scheme ""`}, ""},
		{"the driver's own error", "stub://me:secret@unreachable", []string{errStub.Error(), "me:xxxxx@unreachable"}, "secret"},
		{"a password among the options", "etcd://host?db=a&sslPassword=secret&password=secret", []string{"password=xxxxx", "sslPassword=xxxxx", "db=a"}, "secret"},
		{"a bad duration", "stub://host?timeout=5", []string{`option timeout="5": want a duration like 500ms or 2s`, "allowed: pool (a whole number from 1), prefix (text), timeout (", "tls (true or false)"}, ""},
		{"a negative duration", "stub://host?timeout=-1s", []string{`timeout="-1s"`}, ""},
		{"a number below the least", "stub://host?pool=0", []string{`pool="0": want a whole number from 1`}, ""},
		{"no number", "stub://host?pool=many", []string{`pool="many"`}, ""},
		{"a number out of range", "stub://host?pool=99999999999999999999", []string{"pool="}, ""},
		{"no truth", "stub://host?tls=yes", []string{`tls="yes": want true or false`}, ""},
		{"twice", "stub://host?pool=1&pool=2", []string{"option pool is given 2 times"}, ""},
		{"an unknown option", "stub://host?pol=1", []string{`unknown option "pol"`, "allowed: pool"}, ""},
		{"all that is wrong at once", "stub://host?pol=1&timeout=x&tls=y", []string{`"pol"`, `timeout="x"`, `tls="y"`}, ""},
		{"options that are none", "stub://host?pool=1;timeout=2s", []string{"malformed options"}, ""},
		{"an option for a driver that has none", "memory://?pool=1", []string{`unknown option "pool"`, "allowed: none"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := driver.Open(t.Context(), c.url)
			var open *driver.OpenError
			if !errors.As(err, &open) {
				t.Fatalf("error %v is no *driver.OpenError", err)
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q, want it to say %q", err, s)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("error %q shows %q", err, c.not)
			}
		})
	}
}

func TestOpenErrorIdentity(t *testing.T) {
	_, err := driver.Open(t.Context(), "etcd://host")
	var unknown *driver.UnknownSchemeError
	if !errors.As(err, &unknown) || unknown.Scheme != "etcd" || !slices.Equal(unknown.Known, driver.Schemes()) {
		t.Errorf("error %#v, want an *UnknownSchemeError for etcd", err)
	}
	if _, err = driver.Open(t.Context(), "stub://unreachable"); !errors.Is(err, errStub) {
		t.Errorf("error %v doesn't match the driver's own", err)
	}
	var option *driver.OptionError
	if _, err = driver.Open(t.Context(), "stub://host?tls=maybe&x=1"); !errors.As(err, &option) || len(option.Problems) != 2 || len(option.Allowed) != 4 {
		t.Errorf("error %#v, want an *OptionError with two problems and four options", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = driver.Open(ended, "stub://host"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a ctx that has ended: error %v", err)
	}
}

func TestOpenMemory(t *testing.T) {
	d, err := driver.Open(t.Context(), "memory://")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := d.(*memory.Driver); !ok {
		t.Errorf("memory:// is opened as %T", d)
	}
	for _, u := range []string{"memory://host", "memory:///path", "memory:opaque"} {
		if _, err := driver.Open(t.Context(), u); err == nil || !strings.Contains(err.Error(), "memory:// alone") {
			t.Errorf("%s: error %v, want one that says what is allowed", u, err)
		}
	}
}

func TestUnknownSchemeWithoutDrivers(t *testing.T) {
	if text := (&driver.UnknownSchemeError{Scheme: "bolt"}).Error(); !strings.Contains(text, "import one") {
		t.Errorf("error %q, want it to say what to import", text)
	}
}

func TestRegister(t *testing.T) {
	opener := func(context.Context, *url.URL) (driver.Driver, error) { return nil, errStub }
	for name, register := range map[string]func(){
		"a scheme that is taken": func() { driver.Register("stub", opener) },
		"no opener":              func() { driver.Register("none", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: Register doesn't panic", name)
				}
			}()
			register()
		}()
	}
	if slices.Contains(driver.Schemes(), "none") {
		t.Error("a scheme without an opener is registered")
	}
	if all := driver.Schemes(); !slices.IsSorted(all) || !slices.Contains(all, "memory") {
		t.Errorf("schemes are %v", all)
	}
}

func TestQueryRest(t *testing.T) {
	u, err := url.Parse("redis://host?prefix=a&db=3&protocol=2&db=4")
	if err != nil {
		t.Fatal(err)
	}
	q := driver.NewQuery(u)
	if got := q.String("prefix", ""); got != "a" {
		t.Errorf("prefix is %q", got)
	}
	rest := q.Rest()
	if len(rest) != 2 || !slices.Equal(rest["db"], []string{"3", "4"}) || !slices.Equal(rest["protocol"], []string{"2"}) {
		t.Errorf("the rest is %v, want db and protocol", rest)
	}
	if err := q.Err(); err != nil {
		t.Errorf("what was handed on is an error: %v", err)
	}
}

func TestQueryKeepsDefaults(t *testing.T) {
	q := driver.NewQuery(&url.URL{RawQuery: "d=x&i=x&b=x"})
	if d, i, b, s := q.Duration("d", 3), q.Int("i", 4, 0), q.Bool("b", true), q.String("s", "def"); d != 3 || i != 4 || !b || s != "def" {
		t.Errorf("malformed and absent options are %v, %v, %v, %q, want the defaults", d, i, b, s)
	}
	if q.Err() == nil {
		t.Error("three malformed options are no error")
	}
}

// TestNoPasswordIsShown: however a URL with a password is malformed, neither it nor what is wrong with it shows that.
func TestNoPasswordIsShown(t *testing.T) {
	for _, c := range []struct{ url, shown string }{
		{"etcd://me:hunter2@host:1/db?x=y", "etcd://me:xxxxx@host:1/db?x=y"},
		{"etcd://me:hunter2@host?x=me@corp", "etcd://me:xxxxx@host?x=me@corp"},
		{"etcd://me:hun@hunter2@host", "etcd://me:xxxxx@host"},
		{"etcd://me:hun%40hunter2@host", "etcd://me:xxxxx@host"},
		{"etcd://me:123/hunter2@host", "etcd://me:xxxxx@host"},
		{"etcd://me:123?hunter2@host", "etcd://me:xxxxx@host"},
		{"etcd://me:123?hun&hunter2@host?x=y", "etcd://me:xxxxx@host?x=y"},
		{"etcd://host:1/me:hunter2@host", "etcd://host:xxxxx@host"},
		{"etcd:me:hunter2@host:1", "etcd:xxxxx@host:1"},
		{"etcd:hunter2@host", "etcd:xxxxx@host"},
		{"etcd:me:hunter2%40host", "etcd:xxxxx%40host"},
		{"etcd:/me:hunter2@host", "etcd:xxxxx@host"},
		{"etcd:///me:hunter2@host", "etcd:///me:xxxxx@host"},
		{"me:hunter2@host", "me:xxxxx@host"},
		{"//me:hunter2@host", "//me:xxxxx@host"},
		{"host=h password=hunter2 user=me", "host=h password=xxxxx"},
		{"host=h password='hun hunter2'", "host=h password=xxxxx"},
		{"etcd://host/db?user=u&password=hunter2%off", "etcd://host/db?user=u&password=xxxxx"},
		{"etcd://host/db?sslmode=disable;password=hunter2", "etcd://host/db?sslmode=disable;password=xxxxx"},
		{"etcd://host/db?password=hunter2;x=y", "etcd://host/db?password=xxxxx;x=y"},
		{"memory://?password=hunter2%", "memory://?password=xxxxx"},
		{"memory://?password=hun&hunter2", "memory://?password=xxxxx&xxxxx"},
		{"memory://?PGPassword=hunter2#x", "memory://?PGPassword=xxxxx"},
		{"memory://?p%61ssword=hunter2", "memory://?p%61ssword=xxxxx"},
		{"memory://?p%61ssword=hunter2&a@b", "memory://?p%61ssword=xxxxx&xxxxx"},
		{"etcd://me:123?hunter2@host?p%61ssword=hunter2", "etcd://me:xxxxx@host?p%61ssword=xxxxx"},
		{"memory://?pass%word=hunter2", "memory://?pass%word=xxxxx"},
		{"memory://?password%3Dhunter2", "memory://?xxxxx"},
		{"memory://?password%3Dhunter2=1", "memory://?xxxxx"},
		{"memory://?a=b?password=hunter2", "memory://?a=xxxxx"},
		{"etcd://#password=hunter2", "etcd://#password=xxxxx"},
		{"stub://host?timeout=5%26password=hunter2", "stub://host?timeout=xxxxx"},
		{"stub://host?timeout=me:hunter2@host", "stub://host?timeout=xxxxx"},
		{"stub://host?timeout=me%3Ahunter2%40host", "stub://host?timeout=xxxxx"},
		{"stub://host?me:hunter2@host=1", "stub://host?xxxxx"},
		{"stub://host?auth_token=hunter2&secret=hunter2&PWD=hunter2&sslkey=hunter2&prefix=tokens", "stub://host?auth_token=xxxxx&secret=xxxxx&PWD=xxxxx&sslkey=xxxxx&prefix=tokens"},

		// And nothing else is hidden.
		{"etcd://me@host:1/a:b?x=1;y=2&z", "etcd://me@host:1/a:b?x=1;y=2&z"},
		{"etcd://host:1?user=me@corp", "etcd://host:1?user=me@corp"},
		{"etcd:relative/file.db?", "etcd:relative/file.db?"},
		{"limits@home.db", "limits@home.db"},
	} {
		_, err := driver.Open(t.Context(), c.url)
		var open *driver.OpenError
		if !errors.As(err, &open) {
			t.Errorf("%s: error %v is no *driver.OpenError", c.url, err)
			continue
		}
		if open.URL != c.shown {
			t.Errorf("%s is shown as %s, want %s", c.url, open.URL, c.shown)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %q", c.url, err)
		}
	}
}

// TestAnErrorsOwnWordsAreRedacted: a client's error may repeat a part of the URL.
func TestAnErrorsOwnWordsAreRedacted(t *testing.T) {
	for text, want := range map[string]string{
		`invalid database number: "me:hunter2@host:6379"`:                              `invalid database number: "me:xxxxx@host:6379"`,
		"cannot parse `postgres://h:1/d?user=u&sslmode=b%26password%3Dhunter2`: no":    "cannot parse `postgres://h:1/d?user=u&sslmode=xxxxx`: no",
		"failed to connect to `user=me@corp database=me:hunter2@h`:\n\t127.0.0.1:1 no": "failed to connect to `user=me@corp database=me:xxxxx@h`:\n\t127.0.0.1:1 no",
		`unexpected option: password=hunter2`:                                          `unexpected option: password=xxxxx`,
		`password authentication failed for user "me": want sentinel_password (text)`:  `password authentication failed for user "me": want sentinel_password (text)`,
	} {
		err := &driver.OpenError{URL: "x", Err: errors.New(text)}
		if got := err.Error(); got != `driver: open "x": `+want {
			t.Errorf("%q is said as %q, want %q", text, got, want)
		}
	}
}

// FuzzOpen: whatever the URL, what reaches the driver is in range, and no error shows the password.
func FuzzOpen(f *testing.F) {
	for _, rest := range []string{
		"host:1/a?timeout=1s&pool=3&tls=0&prefix=x", "h?timeout=-1ns&pool=1e3&tls=maybe", "?pool=1;pool=2&%zz=&=&timeout=2540400h1ns",
		"[::1%25lo]:99999/%2f?prefix=%00", "/\x7f", "h?pool=9223372036854775808#frag?prefix=y",
	} {
		f.Add("stub", "me", rest)
	}
	f.Add("other", "", "x?password=q")
	f.Add("stub", "a?timeout=b", "c@d")
	f.Add("stub", "a?b&timeout=%", "?c@d%26")
	const secret = "correcthorse"
	f.Fuzz(func(t *testing.T, scheme, user, rest string) {
		for _, raw := range []string{
			scheme + "://" + user + ":" + secret + "@" + rest, scheme + "://" + rest + "?password=" + secret,
			scheme + ":" + user + ":" + secret + "@" + rest, scheme + ":" + rest + "&password=" + secret,
		} {
			d, err := driver.Open(t.Context(), raw)
			if err != nil {
				var open *driver.OpenError
				if !errors.As(err, &open) || d != nil {
					t.Errorf("%q: %T and %v", raw, err, d)
				}
				if strings.Contains(err.Error(), secret) && !strings.Contains(scheme+user+rest, secret) {
					t.Errorf("%q: %v", raw, err)
				}
				continue
			}
			if s := d.(*stub); s.timeout < 0 || s.pool < 1 {
				t.Errorf("%q: timeout %v, pool %d", raw, s.timeout, s.pool)
			}
		}
	})
}
