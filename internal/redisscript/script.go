// Package redisscript is the script that Redis runs for driver/redis, and the words in which it is spoken to: the packed
// form of requests, answers and states. lua/head.lua describes them.
package redisscript

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

//go:embed lua
var files embed.FS

// general is how the files of the general way make up the script's end. quick and unrolled come before, so that the usual
// case doesn't pay for making the general way's functions.
var general = []string{"state", "level", "align", "line", "op", "request"}

// maxUnrolled is for how many buckets the quick way goes. Each number makes the script longer by 2 kB.
const maxUnrolled = 8

// Source is the script as a server gets it, and SHA1 what EVALSHA calls it by.
var (
	Source = sync.OnceValue(join)
	SHA1   = sync.OnceValue(func() string { return hash(Source()) })
)

func join() string {
	c := compactor{}
	var source strings.Builder
	for _, name := range []string{"head", "struct", "start", "quick"} {
		source.WriteString(c.compact(read(name)))
	}
	unrolled := c.compact(read("unrolled"))
	for n := 1; n <= maxUnrolled; n++ {
		source.WriteString(unroll(unrolled, n))
	}
	source.WriteString("break end\n")
	for _, name := range general {
		source.WriteString(c.compact(read(name)))
	}
	return source.String()
}

func read(name string) string {
	text, err := files.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // embedded: can't be missing
	}
	return string(text)
}

// unroll repeats what stands between « and » for each of n buckets.
func unroll(text string, n int) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "«")
		b.WriteString(before)
		if !found {
			return strings.ReplaceAll(b.String(), "BUCKETS", strconv.Itoa(n))
		}
		each, after, _ := strings.Cut(rest, "»")
		for i := 1; i <= n; i++ {
			b.WriteString(strings.ReplaceAll(each, "_i", "_"+strconv.Itoa(i)))
		}
		text = after
	}
}

var constants = regexp.MustCompile(`^local ([A-Z][A-Z_]*(?:, [A-Z][A-Z_]*)*) = (\d+(?:, \d+)*)$`)

// compactor has the values of the constants that were met.
type compactor map[string]string

// compact writes constants as numbers where they are named, and leaves out comments and indentation.
func (c compactor) compact(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line, _, _ = strings.Cut(line, "--")
		line = strings.TrimSpace(line)
		if m := constants.FindStringSubmatch(line); m != nil {
			numbers := strings.Split(m[2], ", ")
			for i, name := range strings.Split(m[1], ", ") {
				c[name] = numbers[i]
			}
			continue
		}
		if line != "" {
			c.replace(&b, line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// replace writes a line with numbers in place of constants.
func (c compactor) replace(b *strings.Builder, line string) {
	for line != "" {
		n := strings.IndexFunc(line, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		switch {
		case n < 0:
			n = len(line)
		case n == 0:
			_, n = utf8.DecodeRuneInString(line)
		}
		word := line[:n]
		if number, ok := c[word]; ok {
			word = number
		}
		b.WriteString(word)
		line = line[n:]
	}
}

func hash(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
