//go:build !race

package bucket_test

const (
	simulations = 3    // of each promise
	fleets      = 1000 // of random processes
)
