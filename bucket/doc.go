// Package bucket is the arithmetic of throttle: token buckets, the line of those who wait for them, and nothing else.
//
// A key is one model family's state. It holds one bucket for each quota (a resource over a period): a level that
// refills linearly, limit/period a second, up to a burst. It also holds the line, a time until which nothing is
// granted, and limits that were overridden at run time. [State.Apply] is the only place where any of it changes.
//
// # Basics
//
//	limits, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: 600, Per: bucket.Minute})
//	var state bucket.State // the zero State is a key that nobody has used: every bucket full
//	results := make([]bucket.Result, 1)
//	state.Apply(now, &bucket.Request{Limits: limits, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{50}}}}, results)
//
// The package has no clock, no I/O, no goroutine and no lock: the time is an argument, and what comes out depends on
// nothing but the arguments. A [State] is not safe for concurrent use; the driver that keeps it sees to that.
//
// # The line
//
// Whoever must wait takes a place, which debits nothing and protects its cost: an acquire is granted when every bucket
// that it names covers its cost and the costs of all places ahead of it. So nobody ahead is delayed by those behind, and
// what is left over is used at once. Higher priority is served first, then flows take turns by the share of the key that
// they reserved and did not give back, over their weight, then those who have waited longer. A share is the time that the
// scarcest bucket takes to refill the cost. A place lives as long as its owner keeps asking.
//
// # Numbers
//
// Units are float64, times are whole microseconds. Products are rounded before they are added (no fused
// multiply-add), so that every platform, and the Lua port in driver/redis, computes the same bits; testdata/vectors.json
// holds both to that.
//
// # Caveats
//
// A full bucket of burst B and rate r admits up to B + r·t in any interval t: right after an idle spell, up to twice a
// quota can pass within one period. Give a quota a smaller burst where a provider counts fixed windows.
//
// Who waits for as much as a whole burst makes the others wait until the bucket is full, and what is given back meanwhile
// beyond that is lost. Up to half a burst this doesn't show.
//
// A poll costs time in proportion to the length of the line times the number of quotas: 0.6 µs at 100 places and 6 µs at
// 1000. A state that other processes use with other quotas carries those buckets until they are full, and pays for
// looking through them.
package bucket
