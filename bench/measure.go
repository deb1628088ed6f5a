package main

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"
)

// side is one of the things that are compared.
type side struct {
	name string
	// run does n operations on behalf of goroutine g.
	run func(g, n int) error
	// turn, if not nil, has the time measured otherwise: for n operations of each goroutine.
	turn  func(n int) (time.Duration, error)
	close func()
}

// contest is one row before it is measured.
type contest struct {
	name             string
	goroutines, keys int
	goal             float64 // the ratio to reach; 0 where the row is measured only
	floor            string  // what floor_ns is
	ours, other      func() (side, error)
	floorSide        func() (side, error)
	peers            []func() (side, error)
	extra            func(r *row, ours side) error // after the rounds, with our side still open
	budget           time.Duration                 // for one turn of one side; 0 is 60 ms
	rounds           int                           // 0 is 9
	whole            func() (row, error)           // not nil: measures in a way of its own
}

// turn is one side with how many operations fill its turn.
type turn struct {
	side
	n  int
	ns []float64
}

// measure runs a contest: every side in turn within each round, so that what disturbs the machine disturbs all of them,
// and takes medians.
func (c *contest) measure() (row, error) {
	r := row{Name: c.name, Goroutines: c.goroutines, Keys: c.keys, Goal: c.goal, Floor: c.floor}
	makers := append([]func() (side, error){c.ours, c.other, c.floorSide}, c.peers...)
	turns := make([]*turn, len(makers))
	for i, make := range makers {
		if make == nil {
			continue
		}
		s, err := make()
		if err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
		if s.close != nil {
			defer s.close()
		}
		turns[i] = &turn{side: s}
		if err := turns[i].calibrate(c); err != nil {
			return r, fmt.Errorf("%s: %s: %w", c.name, s.name, err)
		}
	}
	rounds := c.rounds
	if rounds == 0 {
		rounds = 9
	}
	for range rounds {
		for _, t := range turns {
			if t == nil {
				continue
			}
			runtime.GC() // one side's garbage is not to be another's time
			took, err := timed(t.side, c.goroutines, t.n)
			if err != nil {
				return r, fmt.Errorf("%s: %s: %w", c.name, t.name, err)
			}
			t.ns = append(t.ns, perOperation(took, c.goroutines, t.n))
		}
	}
	r.OursNS, r.Rounds = median(turns[0].ns), rounds
	if turns[1] != nil {
		r.Other, r.OtherNS = turns[1].name, median(turns[1].ns)
		r.Ratio = r.OursNS / r.OtherNS
	}
	if turns[2] != nil {
		r.FloorNS = median(turns[2].ns)
		if r.Floor == "" {
			r.Floor = turns[2].name
		}
	}
	for _, t := range turns[3:] {
		r.Peers = append(r.Peers, peer{t.name, median(t.ns)})
	}
	if c.extra != nil {
		if err := c.extra(&r, turns[0].side); err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return r, nil
}

// calibrate finds how many operations of each goroutine fill a turn. It also warms up.
func (t *turn) calibrate(c *contest) error {
	budget := c.budget
	if budget == 0 {
		budget = 60 * time.Millisecond
	}
	for n := 1; ; {
		took, err := timed(t.side, c.goroutines, n)
		if err != nil {
			return err
		}
		if took > budget/4 {
			t.n = max(1, int(float64(n)*float64(budget)/float64(took)))
			return nil
		}
		n *= 2
	}
}

// timed has a side do n operations on each of so many goroutines and returns how long all of it took.
func timed(s side, goroutines, n int) (time.Duration, error) {
	if s.turn != nil {
		return s.turn(n)
	}
	run := s.run
	if goroutines == 1 {
		start := time.Now()
		err := run(0, n)
		return time.Since(start), err
	}
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	errs := make([]error, goroutines)
	for g := range goroutines {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			errs[g] = run(g, n)
		})
	}
	ready.Wait()
	start := time.Now()
	close(gate)
	done.Wait()
	took := time.Since(start)
	for _, err := range errs {
		if err != nil {
			return took, err
		}
	}
	return took, nil
}

func perOperation(took time.Duration, goroutines, n int) float64 {
	return float64(took.Nanoseconds()) / float64(goroutines*n)
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// allocations counts what one operation allocates, over many.
func allocations(run func(g, n int) error) (perOp float64, bytes float64, err error) {
	const n = 20_000
	if err := run(0, 100); err != nil {
		return 0, 0, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := run(0, n); err != nil {
		return 0, 0, err
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / n, float64(after.TotalAlloc-before.TotalAlloc) / n, nil
}
