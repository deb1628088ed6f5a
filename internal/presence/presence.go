// Package presence names the key in which package driver/fallback counts the processes of a store, so that what shows a
// store's families can leave it out: it is no family, and as one it would look paused for ever, with a line that never moves.
package presence

import "iter"

// Key is the key. No model can have it for its family, whatever the model's users call it: package throttle gives names
// that begin with an @ another one, and those that Scale makes hold two.
const Key = "@processes"

// Families yields the keys of a store, as driver.Lister does, without Key.
func Families(keys iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range keys {
			if key != Key && !yield(key, err) {
				return
			}
		}
	}
}
