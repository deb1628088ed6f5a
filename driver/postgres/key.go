package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// maxStored is the longest key, in bytes, that the column "key" holds as it is: an entry of its index must fit into a
// third of a page. A longer one is stored by its beginning and its hash, and whole in "full_key".
const maxStored = 1024

// A stored key is the key itself but for what Postgres's text can't hold: NUL, and bytes that aren't UTF-8. Those are
// written \xHH, and a backslash is written \\. A long key ends with \~ and its hash, which no other key can contain.
const (
	escape     = `\`
	longMarker = `\~`
	longPrefix = 128 // bytes of a long key that stay readable
)

// storeKey returns what the columns "key" and "full_key" hold for a key; full is empty if the first is all.
func storeKey(key string) (stored, full string) {
	stored = escapeKey(key)
	if len(stored) <= maxStored {
		return stored, ""
	}
	hash := sha256.Sum256([]byte(key))
	cut := longPrefix // of the key, not of its stored form: an escape must not be cut in two
	for cut > longPrefix-utf8.UTFMax && !utf8.RuneStart(key[cut]) {
		cut--
	}
	return escapeKey(key[:cut]) + longMarker + hex.EncodeToString(hash[:]), stored
}

func escapeKey(key string) string {
	if utf8.ValidString(key) && !strings.ContainsAny(key, "\x00\\") {
		return key
	}
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := 0; i < len(key); {
		r, size := utf8.DecodeRuneInString(key[i:])
		switch {
		case r == '\\':
			b.WriteString(escape + escape)
		case r == 0 || (r == utf8.RuneError && size == 1):
			b.WriteString(escape + "x")
			b.WriteByte(digits[key[i]>>4])
			b.WriteByte(digits[key[i]&15])
		default:
			b.WriteString(key[i : i+size])
		}
		i += size
	}
	return b.String()
}

// unescapeKey is the inverse of escapeKey; ok is false for what that never returns.
func unescapeKey(stored string) (key string, ok bool) {
	if !strings.Contains(stored, escape) {
		return stored, true
	}
	var b strings.Builder
	for i := 0; i < len(stored); {
		if stored[i] != '\\' {
			b.WriteByte(stored[i])
			i++
			continue
		}
		switch {
		case strings.HasPrefix(stored[i:], `\\`):
			b.WriteByte('\\')
			i += 2
		case strings.HasPrefix(stored[i:], `\x`) && len(stored) >= i+4:
			raw, err := hex.DecodeString(stored[i+2 : i+4])
			if err != nil {
				return "", false
			}
			b.Write(raw)
			i += 4
		default:
			return "", false
		}
	}
	return b.String(), true
}
