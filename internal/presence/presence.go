// Package presence names the key in which package driver/fallback counts the processes of a store, so that what shows a
// store's families can leave it out: it is no family, and as one it would look paused for ever, with a line that never moves.
package presence

// Key is the key. No model can have it for its family, whatever the model's users call it: package throttle gives names
// that begin with an @ another one, and those that Scale makes hold two.
const Key = "@processes"
