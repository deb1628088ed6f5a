// Package presence names the key in which package driver/fallback counts the processes of a store, so that what shows a
// store's families can leave it out: it is no family, and as one it would look paused for ever, with a line that never moves.
package presence

// Key is the key. No part of it is for people: they see a family by this name nowhere.
const Key = "\x00processes"
