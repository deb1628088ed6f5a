//go:build !unix

package main

// mostInFlight is the most requests at once by default. At 30 s an answer that serves 16,000 requests a minute.
const mostInFlight = 8192

// filesAllow is how many requests may be in flight.
func filesAllow() int { return mostInFlight }
