//go:build race

package openai

import "time"

// linearLimit is what counting 100 kB may take; the race detector makes it some fifteen times slower.
const linearLimit = 1500 * time.Millisecond
