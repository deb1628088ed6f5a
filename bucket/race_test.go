//go:build race

package bucket_test

// The race detector slows simulations down tenfold and has nothing to find in a package without goroutines.
const (
	simulations = 1
	fleets      = 50
)
