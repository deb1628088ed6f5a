//go:build race

package anthropic

// RaceDetector says whether the tests run under it: then everything is some ten times slower, and figures say nothing.
const RaceDetector = true
