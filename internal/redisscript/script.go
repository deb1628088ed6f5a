// Package redisscript is the script that Redis runs for driver/redis, and the words in which it is spoken to: the packed
// form of requests, answers and states. lua/head.lua describes them.
package redisscript

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"strings"
)

//go:embed lua
var files embed.FS

// order is how the files make up the script. quick comes first of what applies requests, so that the usual case doesn't
// pay for making the functions of the general one.
var order = []string{"head", "struct", "start", "quick", "state", "level", "align", "line", "op", "request"}

// Source is the script, and SHA1 what EVALSHA calls it by.
var (
	Source = join()
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

func hash(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}
