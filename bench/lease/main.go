// Command lease simulates, in virtual time, very many processes that share one key: each asks the store for every call,
// or takes a lease of capacity that lasts for some milliseconds and serves its calls from that. The key is debited by the
// arithmetic of package bucket when the lease is taken, so that what is leased is bounded like everything else.
//
//	go run ./lease
//
// docs/scaling.md says what follows from it.
package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

func main() {
	const processes = 10_000
	store := Store{Each: 20 * time.Microsecond, Distance: 500 * time.Microsecond}
	base := Plan{
		Processes: processes, Rate: 500_000, Burst: 30_000_000, Level: 50_000, Store: store, For: 3 * time.Second, Seed: 1,
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "shards\tlease\tload\tstore operations a second\tstore busy\tof the ideal\twait, median\twait, 99 of 100\tbeyond the bound\tleased at most")
	for _, load := range []float64{0.5, 1.2} {
		for _, shards := range []int{1, 16} {
			for _, lease := range []time.Duration{0, 50 * time.Millisecond, 250 * time.Millisecond, time.Second} {
				p := base
				p.Load, p.Shards, p.Lease = load, shards, lease
				r := p.Run()
				fmt.Fprintf(t, "%d\t%v\t%.1f\t%.0f\t%.0f %%\t%.3f\t%v\t%v\t%.0f\t%.0f\n", shards, lease, load, r.Operations, 100*r.Busy,
					r.Ideal, r.Median.Round(10*time.Microsecond), r.Late.Round(10*time.Microsecond), r.Beyond, r.Leased)
			}
		}
	}
	if err := t.Flush(); err != nil {
		os.Exit(1)
	}
}
