//go:build !race

package openai

import "time"

// linearLimit is what counting 100 kB may take.
const linearLimit = 100 * time.Millisecond
