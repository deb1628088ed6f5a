package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// The contests as ordinary benchmarks: go test -bench Memory.

func BenchmarkMemory(b *testing.B) { benchmark(b, memoryContests()) }
func BenchmarkBolt(b *testing.B)   { benchmark(b, boltContests()) }
func BenchmarkRedis(b *testing.B)  { benchmark(b, redisContests()) }

func BenchmarkTokens(b *testing.B)    { benchmark(b, tokenContests()) }
func BenchmarkTransport(b *testing.B) { benchmark(b, transportContests()) }

func BenchmarkPostgres(b *testing.B) {
	benchmark(b, slices.DeleteFunc(postgresContests(), func(c contest) bool { return strings.HasSuffix(c.name, "-two") }))
}

func TestMain(m *testing.M) {
	code := m.Run()
	stopServices()
	os.Exit(code)
}

// benchmark runs each side of each contest with b.N operations over its goroutines.
func benchmark(b *testing.B, contests []contest) {
	for _, c := range contests {
		if c.whole != nil {
			continue
		}
		for _, make := range append([]func() (side, error){c.ours, c.other, c.floorSide}, c.peers...) {
			if make == nil {
				continue
			}
			s, err := make()
			if err != nil {
				b.Fatal(err)
			}
			b.Run(c.name+"/"+strings.ReplaceAll(s.name, " ", "_"), func(b *testing.B) {
				b.ReportAllocs()
				each := max(1, b.N/c.goroutines)
				if _, err := timed(s, c.goroutines, each); err != nil {
					b.Fatal(err)
				}
			})
			if s.close != nil {
				s.close()
			}
		}
	}
}
