package openai

import (
	"unicode"
	"unicode/utf8"
)

// Texts are tokenized in portions, because byte pair encoding takes time quadratic in the length of what the pattern cannot
// split, and the library some forty times the memory of the text it is given.
const (
	portion = 4096 // bytes after which a portion ends at the next place where a token ends whatever follows
	longRun = 128  // bytes without such a place after which a portion is cut all the same
)

// cutPoint returns where the first portion of text ends: a number of bytes in [1, len(text)].
//
// A token of any of the vocabularies ends between a letter or number and what is neither letter, number, mark nor
// apostrophe; and between a printable ASCII character and a space. (Each alternative of their patterns is one character of
// punctuation and letters, or digits, or punctuation and line breaks, or white space.)
func cutPoint(text string) int {
	if len(text) <= longRun {
		return len(text)
	}
	safe, prev, invalid := 0, rune(0), 0
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			if r, size = utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
				invalid++ // the library reads it as U+FFFD, three bytes long
			}
		}
		if endsToken(prev, r) {
			safe, invalid = i, 0
			if i >= portion {
				return i
			}
		}
		if i-safe+2*invalid >= longRun {
			if safe > 0 {
				return safe // what came before is counted exactly
			}
			return i
		}
		prev = r
		i += size
	}
	return len(text)
}

// endsToken reports whether a token surely ends between two characters.
func endsToken(before, after rune) bool {
	if after < utf8.RuneSelf {
		if isAlphanumeric(after) || after == '\'' {
			return false
		}
		if after == ' ' && before > ' ' && before < 0x7F {
			return true
		}
	} else if unicode.In(after, unicode.L, unicode.N, unicode.M) {
		return false
	}
	if before < utf8.RuneSelf {
		return isAlphanumeric(before)
	}
	return unicode.In(before, unicode.L, unicode.N)
}

func isAlphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
