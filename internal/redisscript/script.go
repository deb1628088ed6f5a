// Package redisscript is the script that Redis runs for driver/redis, and the words in which it is spoken to: the packed
// form of requests, answers and states. lua/head.lua describes them.
package redisscript

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"regexp"
	"strings"
)

//go:embed lua
var files embed.FS

// order is how the files make up the script. quick comes first of what applies requests, so that the usual case doesn't
// pay for making the functions of the general one.
var order = []string{"head", "struct", "start", "quick", "state", "level", "align", "line", "op", "request"}

// Source is the script as a server gets it, and SHA1 what EVALSHA calls it by.
var (
	Source = compact(join())
	SHA1   = hash(Source)
)

func join() string {
	var source strings.Builder
	for _, name := range order {
		text, err := files.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // embedded: can't be missing
		}
		source.Write(text)
		source.WriteByte('\n')
	}
	return source.String()
}

var (
	constants = regexp.MustCompile(`^local ([A-Z][A-Z_]*(?:, [A-Z][A-Z_]*)*) = (\d+(?:, \d+)*)$`)
	word      = regexp.MustCompile(`\b[A-Z][A-Z_]+\b`)
	comment   = regexp.MustCompile(`\s*--.*`)
)

// compact writes constants as numbers where they are named, and leaves out comments and indentation.
func compact(source string) string {
	values := map[string]string{}
	var lines []string
	for line := range strings.Lines(source) {
		line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
		if m := constants.FindStringSubmatch(line); m != nil {
			numbers := strings.Split(m[2], ", ")
			for i, name := range strings.Split(m[1], ", ") {
				values[name] = numbers[i]
			}
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return word.ReplaceAllStringFunc(strings.Join(lines, "\n"), func(name string) string {
		if number, ok := values[name]; ok {
			return number
		}
		return name
	})
}

func hash(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
