//go:build race

package openai

import "time"

// linearLimit is what counting 100 kB may take; the race detector makes it some fifteen times slower.
const linearLimit = 1500 * time.Millisecond

// RaceDetector says whether the tests run under it: then everything is some ten times slower, and figures say nothing.
const RaceDetector = true
