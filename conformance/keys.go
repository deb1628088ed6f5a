package conformance

import (
	"context"
	"errors"
	"strings"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// keys are the clauses about keys.
func keys() []clause {
	return []clause{
		{name: "keys/any", quote: "Key is any string of up to [MaxKey] bytes: empty, with NULs, not UTF-8.", test: anyKey},
		{name: "keys/apart", quote: "Different keys never share state.", test: keysApart},
		{name: "keys/too-long", quote: "Requests that [Check] refuses are refused with its error.", test: longKeyRefused},
	}
}

// hostileKeys are strings that stores have been known to stumble over.
func hostileKeys() []string {
	long := strings.Repeat("k", driver.MaxKey-1)
	blob := make([]byte, driver.MaxKey)
	for i := range blob {
		blob[i] = byte(i)
	}
	return []string{
		"", " ", "  ", "\x00", "\x00\x00", "a", "A", "a ", " a", "a\x00", "a\x00b", "\x00a",
		"\xff", "\xfe\xff", "\xc3\x28", "\xed\xa0\x80", "\ufffd", "\xef\xbf\xbe", // not UTF-8, a lone surrogate, and what such things are replaced with
		"é", "e\u0301", "É", "ß", "ss", "Straße", "STRASSE", "ı", "i", "İ", "Ǆ", "ǆ", // equal or not by normal form, case and collation
		"日本語", "🪣", "\u200b", "\u202e", "\ufeff", "\u2028",
		"{", "}", "{}", "{a}", "{a}{b}", "{{a}}", "a{b}", "{b}a", "{a", "a}", "{}a", // hash tags
		":", "a:b", "a::b", ":a", "a:", "a/b", "/", "//", "../a", ".", "..", "a.b", "a|b", "a,b", "a\tb", "a\nb", "a\r\nb",
		"%", "_", "a%", "a_", "*", "a*", "?", "[a]", `\`, `\\`, `a\b`, `\x00`, `"`, `'`, `''`, `'; drop table x; --`, "$1", "${a}", "%s", "%00", "a+b", "a b", "a%20b",
		"null", "nil", "true", "0", "00", "1", "1.0", "1e0", "-0", "NaN", "undefined",
		long, long + "a", long + "b", string(blob), strings.Repeat("\x00", driver.MaxKey), strings.Repeat("\xff", driver.MaxKey), strings.Repeat("🪣", driver.MaxKey/4),
	}
}

func anyKey(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	for _, key := range hostileKeys() {
		for range 2 {
			o := p.call(context.Background(), d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{acquire(400)}})
			switch {
			case o.err != nil:
				p.errorf("key %s: %v", show(key), o.err)
			case o.responses[0].Results[0].Status != bucket.Granted:
				p.errorf("key %s, which should hold 1000 units and 600 after its first acquire: %v", show(key), o.responses[0].Results[0].Status)
			}
		}
		if o := p.call(context.Background(), d, driver.Request{Key: key, Limits: l, Ops: []bucket.Op{acquire(400)}}); o.err == nil && o.responses[0].Results[0].Status != bucket.Refused {
			p.errorf("key %s: after two acquires of 400 out of 1000, a third is %v", show(key), o.responses[0].Results[0].Status)
		}
	}
}

// keysApart gives each key a level of its own, all in one batch, and looks at them one by one.
func keysApart(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	all := hostileKeys()
	batch := make([]driver.Request, len(all))
	for i, key := range all {
		batch[i] = driver.Request{Key: key, Limits: l, Ops: []bucket.Op{record(float64(i))}}
	}
	for i, r := range p.apply(d, batch...) {
		if !r.Absent {
			p.errorf("key %s was never used, but is there", show(all[i]))
		}
	}
	for i, key := range all {
		if level, want := p.level(d, key, l, "tokens"), 1000-float64(i); !near(level, want) {
			p.errorf("key %s has a level of %v, want %v: another key shares its state", show(key), level, want)
		}
	}
}

func longKeyRefused(p *probe) {
	d := p.open()
	l := limits(still("tokens", 1000))
	long := strings.Repeat("x", driver.MaxKey+1)
	o := p.call(context.Background(), d,
		driver.Request{Key: "short", Limits: l, Ops: []bucket.Op{record(1)}},
		driver.Request{Key: long, Limits: l, Ops: []bucket.Op{record(1)}})
	var tooLong *driver.KeyError
	switch {
	case o.err == nil:
		p.errorf("a key of %d bytes was accepted, want a *driver.KeyError", len(long))
	case !errors.As(o.err, &tooLong):
		p.errorf("a key of %d bytes: error %v, want a *driver.KeyError", len(long), o.err)
	}
	if level := p.level(d, "short", l, "tokens"); !near(level, 1000) {
		p.errorf("another request of a batch that was refused was applied: level %v, want 1000", level)
	}
}
