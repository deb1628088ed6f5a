package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// crowd is a row in which so many calls wait for one key at once.
const (
	crowdSize = 100_000
	crowdRate = 50_000.0 // grants a second
)

// crowdRound lets n calls wait for a key that owes debt, enough that all of them are in line before the first is granted;
// errSlow if it wasn't. It returns how long it took to grant them all, from the instant the debt was made, what an ideal refill takes, and the
// heap's bytes a waiter.
func crowdRound(d driver.Driver, n int, perSecond, debt float64) (took, ideal time.Duration, bytes float64, err error) {
	l := throttle.New(d, throttle.Static(throttle.PerSecond("requests", perSecond).WithBurst(perSecond)))
	defer l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	before := heap()
	if err := l.Record(ctx, "m", throttle.Usage{"requests": perSecond + debt}); err != nil {
		return 0, 0, 0, err
	}
	start := time.Now()
	errs := make([]error, n)
	var crowd sync.WaitGroup
	for i := range n {
		crowd.Go(func() { _, errs[i] = l.Acquire(ctx, "m", throttle.Usage{"requests": 1}) })
	}
	for {
		s, err := l.Status(ctx, "m")
		if err != nil {
			return 0, 0, 0, err
		}
		if s.Waiting >= n {
			break
		}
		if s.Buckets[0].Level >= 1 {
			return 0, 0, 0, errSlow
		}
		time.Sleep(time.Millisecond)
	}
	bytes = float64(heap()-before) / float64(n)
	crowd.Wait()
	took = time.Since(start)
	return took, time.Duration((debt + float64(n)) / perSecond * float64(time.Second)), bytes, errors.Join(errs...)
}

var errSlow = errors.New("the machine is too busy to bring the waiters into line before the first is granted")

// heap is the bytes of the heap in use: stacks of goroutines are not among them.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// waitersRow measures by rounds of its own, since the ideal is arithmetic.
func waitersRow() (row, error) {
	r := row{
		Name: "memory-waiters", Other: "the ideal refill", Goroutines: crowdSize, Keys: 1, Goal: 1.02, Rounds: 5,
		Note: "bytes are of the heap, without goroutines' stacks, in a process that had as many goroutines before",
	}
	var took, bytes []float64
	debt := 2 * crowdRate // two seconds' worth, more on a busy machine
	if _, _, _, err := crowdRound(memory.New(), crowdSize, 1e6, 4e6); err != nil && !errors.Is(err, errSlow) {
		return r, err // this round only makes the goroutines, which the runtime keeps
	}
	for len(took) < r.Rounds {
		t, ideal, b, err := crowdRound(memory.New(), crowdSize, crowdRate, debt)
		if errors.Is(err, errSlow) && debt < 20*crowdRate {
			debt *= 2
			took, bytes = nil, nil
			continue
		}
		if err != nil {
			return r, err
		}
		took, bytes = append(took, float64(t)/crowdSize), append(bytes, b)
		r.OtherNS = float64(ideal) / crowdSize
	}
	r.OursNS, r.Bytes = median(took), median(bytes)
	r.Ratio = r.OursNS / r.OtherNS
	return r, nil
}
