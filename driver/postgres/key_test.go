package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStoreKey(t *testing.T) {
	for key, want := range map[string]string{
		"":                "",
		"gpt-4.1":         "gpt-4.1",
		"日本":              "日本",
		"a\x00b":          `a\x00b`,
		`a\x00b`:          `a\\x00b`,
		`\`:               `\\`,
		"\xff":            `\xff`,
		"\xed\xa0\x80":    `\xed\xa0\x80`,
		"\ufffd":          "\ufffd",
		"line\nfeed\ttab": "line\nfeed\ttab",
	} {
		stored, full := storeKey(key)
		if stored != want || full != "" {
			t.Errorf("%q is stored as %q, %q, want %q alone", key, stored, full, want)
		}
	}
	for _, key := range []string{
		strings.Repeat("k", 1025), strings.Repeat("\x00", 257), strings.Repeat("🪣", 257), strings.Repeat("x", 127) + strings.Repeat("é", 1000),
		strings.Repeat(`\`, 16<<10), strings.Repeat("\xff", 16<<10),
	} {
		stored, full := storeKey(key)
		if len(stored) > maxStored || !utf8.ValidString(stored) || full == "" {
			t.Errorf("%.20q… (%d bytes) is stored as %q", key, len(key), stored)
		}
		if back, ok := unescapeKey(full); !ok || back != key {
			t.Errorf("%.20q… (%d bytes) does not come back", key, len(key))
		}
		if _, ok := unescapeKey(stored); ok {
			t.Errorf("%q could be the stored form of another key", stored)
		}
		// A key that looks like a long key's stored form.
		if again, _ := storeKey(stored); again == stored {
			t.Errorf("key %q is stored as what a long key is stored as", stored)
		}
	}
	for _, stored := range []string{`\`, `a\`, `\x`, `\x0`, `\xzz`, `\~`, `\y`} {
		if key, ok := unescapeKey(stored); ok {
			t.Errorf("%q, which is never stored, comes back as %q", stored, key)
		}
	}
}

// Postgres would cut off what is too long: two tables would share a channel.
func TestChannelOf(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range []Options{{Schema: "public", Table: "t"}, {Schema: strings.Repeat("s", 63), Table: "t"}, {Schema: strings.Repeat("s", 63), Table: "u"}} {
		channel := channelOf(&o)
		if len(channel) > maxIdentifier || seen[channel] {
			t.Errorf("%s.%s: channel %q, want one of its own of up to %d bytes", o.Schema, o.Table, channel, maxIdentifier)
		}
		seen[channel] = true
	}
}

func FuzzStoreKey(f *testing.F) {
	for _, key := range []string{"", "a", "\x00", `\`, `\x00`, "\xff\xfe", "é", `\~0`} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		stored, full := storeKey(key)
		if !utf8.ValidString(stored) || strings.ContainsRune(stored, 0) || !utf8.ValidString(full) || strings.ContainsRune(full, 0) {
			t.Fatalf("%q is stored as %q, %q, which text can't hold", key, stored, full)
		}
		if full == "" {
			full = stored
		}
		if back, ok := unescapeKey(full); !ok || back != key {
			t.Fatalf("%q is stored as %q and comes back as %q", key, full, back)
		}
	})
}
