// Command lease simulates, in virtual time, very many processes that share one key: each asks the store for every call,
// or takes a lease of capacity that lasts for some milliseconds and serves its calls from that. The key is debited by the
// arithmetic of package bucket when the lease is taken, so that what is leased is bounded like everything else.
//
//	go run ./lease
//
// docs/scaling.md says what follows from it, and has the three tables that this prints.
package main

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"
)

var store = Store{Each: 20 * time.Microsecond, Distance: 500 * time.Microsecond}

func main() {
	for _, table := range []func(*tabwriter.Writer){what, bound, skew} {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		table(t)
		fmt.Fprintln(t)
		if err := t.Flush(); err != nil {
			os.Exit(1)
		}
	}
}

// what shows what leases and shards spare the store.
func what(t *tabwriter.Writer) {
	fmt.Fprintln(t, "shards\tlease\tload\tstore operations a second\tbusiest store\tof the ideal\twait, median\twait, 99th\tbeyond the bound\tleased at most")
	for _, load := range []float64{0.5, 1.2} {
		for _, shards := range []int{1, 16} {
			for _, lease := range []time.Duration{0, 50 * time.Millisecond, 250 * time.Millisecond, time.Second} {
				r := Plan{
					Processes: 10_000, Rate: 500_000, Burst: 30_000_000, Level: 50_000, Load: load, Shards: shards, Lease: lease,
					Store: store, For: 3 * time.Second, Seed: 1,
				}.Run()
				fmt.Fprintf(t, "%d\t%v\t%.1f\t%.0f\t%.0f %%\t%.3f\t%v\t%v\t%.0f\t%.0f\n", shards, lease, load, r.Operations, 100*r.Busy,
					r.Ideal, round(r.Median), round(r.Late), r.Beyond, r.Leased)
			}
		}
	}
}

// bound shows what leases do to the bound where it is tight: a burst of 25 ms of refill, and calls in waves. A lease that
// is held between two waves, while the bucket fills, comes on top of a full bucket.
func bound(t *tabwriter.Writer) {
	fmt.Fprintln(t, "lease\treserve\tbeyond the bound\tleased at most\tof the ideal")
	for _, c := range []struct {
		lease   time.Duration
		reserve float64
	}{{0, 0}, {250 * time.Millisecond, 0}, {250 * time.Millisecond, 100}, {250 * time.Millisecond, 250}} {
		r := tight(c.lease, c.reserve).Run()
		fmt.Fprintf(t, "%v\t%.0f\t%.0f\t%.0f\t%.3f\n", c.lease, c.reserve, r.Beyond, r.Leased, r.Ideal)
	}
}

func tight(lease time.Duration, reserve float64) Plan {
	return Plan{
		Processes: 200, Rate: 20_000, Burst: 500, Level: 500, Load: 1.2, Shards: 1, Lease: lease, Reserve: reserve,
		Wave: 20 * time.Millisecond, Store: store, For: 2 * time.Second, Seed: 4,
	}
}

// skew shows what it costs to divide a key where one process in ten makes all the calls.
func skew(t *tabwriter.Writer) {
	fmt.Fprintln(t, "shards\tload\tmoves\tof the ideal\twait, median\twait, 99th")
	for _, c := range []struct {
		shards int
		moves  bool
	}{{1, false}, {16, false}, {16, true}} {
		for _, load := range []float64{0.7, 0.9} {
			r := Plan{
				Processes: 10_000, Callers: 0.1, Rate: 40_000, Burst: 2_400_000, Level: 1_000, Load: load, Shards: c.shards, Moves: c.moves,
				Store: store, For: 10 * time.Second, Seed: 2,
			}.Run()
			fmt.Fprintf(t, "%d\t%.1f\t%v\t%.3f\t%v\t%v\n", c.shards, load, c.moves, r.Ideal, round(r.Median), round(r.Late))
		}
	}
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
