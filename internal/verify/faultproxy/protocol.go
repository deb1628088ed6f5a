package faultproxy

import (
	"bytes"
	"encoding/binary"
	"strconv"
)

// Protocol makes what finds the messages in one direction of a connection: a function that returns the length of the
// first message in data, or 0 if it isn't whole yet. A nil Protocol takes for a message what one read returns.
type Protocol func(answers bool) func(data []byte) int

// Postgres finds the messages of Postgres's protocol, version 3, without encryption.
func Postgres(answers bool) func([]byte) int {
	first := !answers // the startup message has no type before its length
	return func(data []byte) int {
		at := 1
		if first {
			at = 0
		}
		if len(data) < at+4 {
			return 0
		}
		n := at + int(binary.BigEndian.Uint32(data[at:]))
		if len(data) < n {
			return 0
		}
		first = false
		return n
	}
}

// Redis finds the commands and answers of Redis's protocol, versions 2 and 3.
func Redis(bool) func([]byte) int { return resp }

// resp is the length of the first value in data, with all that it holds; 0 if it isn't whole.
func resp(data []byte) int {
	line := bytes.Index(data, []byte("\r\n"))
	if line < 1 {
		return 0
	}
	end := line + 2
	count, err := strconv.Atoi(string(data[1:line]))
	if err != nil {
		return end // a line of its own
	}
	switch data[0] {
	case '$', '=', '!': // bytes
		if count >= 0 {
			end += count + 2
		}
		if len(data) < end {
			return 0
		}
		return end
	case '%', '|': // pairs
		count *= 2
	case '*', '~', '>': // values
	default:
		return end
	}
	if data[0] == '|' {
		count++ // what the attributes are of
	}
	for range max(0, count) {
		n := resp(data[end:])
		if n == 0 {
			return 0
		}
		end += n
	}
	return end
}
