package openai

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text is split into the pieces that become tokens by hand, which takes a tenth of the time that the vocabularies'
// patterns take; the patterns stay the authority, and a fuzz test holds the two together.

// splitter returns where the piece ends that begins at text[i]. The text is valid UTF-8.
type splitter func(text string, i int) int

// splitters are those of the vocabularies that present models use.
var splitters = map[string]splitter{O200kBase: splitO200k, CL100kBase: splitCL100k}

// class is what a character is to the patterns; several may hold.
type class uint8

const (
	letter   class = 1 << iota // \p{L}
	number                     // \p{N}
	blank                      // \s
	newline                    // \r, \n
	starting                   // [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]: may stand in the upper part of a word
	ending                     // [\p{Ll}\p{Lm}\p{Lo}\p{M}]: may stand in its lower part
)

var asciiClasses = func() (table [utf8.RuneSelf]class) {
	for r := range table {
		table[r] = classOf(rune(r))
	}
	return table
}()

func classOf(r rune) class {
	switch {
	case unicode.In(r, unicode.Lu, unicode.Lt):
		return letter | starting
	case unicode.Is(unicode.Ll, r):
		return letter | ending
	case unicode.IsLetter(r):
		return letter | starting | ending
	case unicode.IsMark(r):
		return starting | ending
	case unicode.IsNumber(r):
		return number
	case r == '\n' || r == '\r':
		return blank | newline
	case unicode.IsSpace(r):
		return blank
	}
	return 0
}

// at returns the class and length of the character at text[i]; nothing at the end.
func at(text string, i int) (c class, size int) {
	if i >= len(text) {
		return 0, 0
	}
	if b := text[i]; b < utf8.RuneSelf {
		return asciiClasses[b], 1
	}
	r, size := utf8.DecodeRuneInString(text[i:])
	return classOf(r), size
}

// run returns where the characters of a class end that begin at text[i].
func run(text string, i int, of class) int {
	for {
		c, size := at(text, i)
		if c&of == 0 {
			return i
		}
		i += size
	}
}

// marks is run for characters that are neither letter, number nor blank.
func marks(text string, i int) int {
	for {
		c, size := at(text, i)
		if size == 0 || c&(letter|number|blank) != 0 {
			return i
		}
		i += size
	}
}

// splitO200k follows o200k_base's alternatives in order.
func splitO200k(text string, i int) int {
	c, size := at(text, i)
	leads := c&(letter|number|newline) == 0
	for _, word := range []func(string, int) int{lowerWord, upperWord} {
		end := -1
		if leads {
			end = word(text, i+size)
		}
		if end < 0 {
			end = word(text, i)
		}
		if end >= 0 {
			return end + contraction(text[end:])
		}
	}
	return splitOther(text, i, "\r\n/")
}

// lowerWord matches [starting]*[ending]+ at text[i]; -1 if there is none. A character that is both goes to the first part
// as long as the second has another.
func lowerWord(text string, i int) int {
	lastBoth := -1
	for {
		c, size := at(text, i)
		if c&starting == 0 {
			break
		}
		i += size
		if c&ending != 0 {
			lastBoth = i
		}
	}
	if end := run(text, i, ending); end > i {
		return end
	}
	return lastBoth
}

// upperWord matches [starting]+[ending]* where lowerWord doesn't match, so that the second part is empty.
func upperWord(text string, i int) int {
	if end := run(text, i, starting); end > i {
		return end
	}
	return -1
}

// splitCL100k follows cl100k_base's.
func splitCL100k(text string, i int) int {
	if n := contraction(text[i:]); n > 0 {
		return i + n
	}
	start := i
	if c, size := at(text, i); c&(letter|number|newline) == 0 {
		start += size
	}
	if end := run(text, start, letter); end > start {
		return end
	}
	return splitOther(text, i, "\r\n")
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the beginning of a text, in either case; 0 if there
// is none.
func contraction(text string) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	switch text[1] | 0x20 {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if len(text) > 2 && text[2]|0x20 == 'e' {
			return 3
		}
	case 'l':
		if len(text) > 2 && text[2]|0x20 == 'l' {
			return 3
		}
	}
	return 0
}

// splitOther takes what is not a word: numbers, marks, white space. Tail are the characters that marks take along.
func splitOther(text string, i int, tail string) int {
	end := i
	for range 3 { // \p{N}{1,3}
		c, size := at(text, end)
		if c&number == 0 {
			break
		}
		end += size
	}
	if end > i {
		return end
	}
	start := i
	if text[i] == ' ' { //  ?[^\s\p{L}\p{N}]+[tail]*
		start++
	}
	if end := marks(text, start); end > start {
		for end < len(text) && strings.IndexByte(tail, text[end]) >= 0 {
			end++
		}
		return end
	}
	return splitBlank(text, i)
}

// splitBlank takes white space: up to its last line break (\s*[\r\n]+), else up to the last blank, which goes with what
// follows (\s+(?!\S)), else the one blank that there is (\s+).
func splitBlank(text string, i int) int {
	end, last, lastBreak := i, i, -1
	for {
		c, size := at(text, end)
		if c&blank == 0 {
			break
		}
		last = end
		end += size
		if c&newline != 0 {
			lastBreak = end
		}
	}
	switch {
	case lastBreak >= 0:
		return lastBreak
	case end == len(text) || last == i:
		return end
	}
	return last
}
