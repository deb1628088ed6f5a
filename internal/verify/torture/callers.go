package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// The family whose books are kept refills by less than a token in all the time a run takes, and is never empty or full:
// its level says exactly what was done. On the other, callers have to wait.
const (
	burst      = 1e9
	callers    = 6 // on each of the two limiters
	wholeCosts = 100
)

var (
	booked = throttle.Quota{Resource: "tokens", Limit: 1e6, Per: bucket.MaxSpan.Duration(), Burst: burst}
	tight  = throttle.Quota{Resource: "tokens", Limit: 2000, Per: time.Second}
)

// fleet is two limiters, each with a driver of its own, as two processes are.
type fleet struct {
	drivers  []driver.Driver
	limiters []*throttle.Limiter
	ledger   *ledger
	url      string        // of the store itself
	stoodIn  bool          // the drivers go on without it
	missing  chan struct{} // gets one when a limiter was told of a lost state
	stepped  chan struct{} // gets one when a limiter was told that the store's clock was set
	patience time.Duration
	stop     chan struct{}
	work     sync.WaitGroup
	mu       sync.RWMutex // held for writing while nobody may be at work
}

func newFleet(ctx context.Context, url string, standIn func(driver.Driver) driver.Driver) (*fleet, error) {
	f := &fleet{url: url, patience: patience, ledger: newLedger(), stop: make(chan struct{}), missing: make(chan struct{}, 1), stepped: make(chan struct{}, 1)}
	models := throttle.Table(map[string]throttle.Model{
		"booked": {Quotas: []throttle.Quota{booked}},
		"tight":  {Quotas: []throttle.Quota{tight}},
	})
	hooks := &throttle.Hooks{
		StateMissing: func(throttle.StateMissingInfo) { once(f.missing) },
		ClockStepped: func(throttle.ClockSteppedInfo) { once(f.stepped) },
	}
	for range 2 {
		d, err := driver.Open(ctx, url)
		if err != nil {
			f.close()
			return nil, err
		}
		if standIn != nil {
			d = standIn(d)
			f.stoodIn = true
		}
		f.drivers = append(f.drivers, d)
		f.limiters = append(f.limiters, throttle.New(d, models, throttle.WithHooks(hooks), throttle.StoreTimeout(storeTimeout)))
	}
	return f, nil
}

// once puts something into a channel that has room for one.
func once(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// start lets everybody work until close. Half of the callers keep books, half wait in line.
func (f *fleet) start() {
	for i := range callers * len(f.limiters) {
		lim := f.limiters[i%len(f.limiters)]
		f.work.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(i)))
			for {
				select {
				case <-f.stop:
					return
				default:
				}
				f.mu.RLock()
				if i/len(f.limiters)%2 == 0 {
					f.call(i, lim, float64(wholeCosts+rng.IntN(wholeCosts)))
				} else {
					f.queue(i, lim)
				}
				f.mu.RUnlock()
			}
		})
	}
}

// patience is how long a caller's own context gives it, and longPatience where it must be the library that ends a call.
const (
	patience     = 4 * time.Second
	longPatience = 30 * time.Second
)

// call reserves, and gives half back.
func (f *fleet) call(caller int, lim *throttle.Limiter, cost float64) {
	ctx, cancel := context.WithTimeout(context.Background(), f.patience)
	defer cancel()
	began := time.Now()
	r, err := lim.Acquire(ctx, "booked", throttle.Usage{"tokens": cost})
	if err != nil {
		f.ledger.fail(caller, began, err, func(l *ledger) {
			if unknown(err) {
				l.maybeGranted += cost
			}
		})
		return
	}
	f.ledger.note(caller, began, &answer{granted: cost}, nil)
	back := float64(int(cost / 2))
	for {
		began := time.Now()
		err := r.Settle(context.Background(), throttle.Usage{"tokens": cost - back})
		switch {
		case err == nil:
			f.ledger.note(caller, began, &answer{credited: back}, nil)
		case unknown(err):
			f.ledger.fail(caller, began, err, func(l *ledger) { l.maybeCredited += back })
		default:
			f.ledger.fail(caller, began, err, nil)
		}
		if err == nil || unknown(err) || errors.Is(err, throttle.ErrSettled) {
			return
		}
		select {
		case <-f.stop:
			return
		default:
		}
	}
}

// queue waits for its turn on the family that is always short.
func (f *fleet) queue(caller int, lim *throttle.Limiter) {
	ctx, cancel := context.WithTimeout(context.Background(), f.patience)
	defer cancel()
	began := time.Now()
	if _, err := lim.Acquire(ctx, "tight", throttle.Usage{"tokens": 50}); err != nil {
		f.ledger.fail(caller, began, err, nil)
		return
	}
	f.ledger.note(caller, began, &answer{tight: 50}, nil)
}

// unknown says whether an operation may have been done although it failed. A caller's own deadline can cut a wait short
// at the moment of the grant; that grant goes back by itself, and is unknown only if the store fails then too.
func unknown(err error) bool {
	return errors.Is(err, driver.ErrUnknownOutcome) || errors.Is(err, context.DeadlineExceeded)
}

// level is what the store says is left of the family whose books are kept.
func (f *fleet) level() (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	lim := f.limiters[0]
	if f.stoodIn {
		// They look for the store every 200 ms, and tell it of the outage; what it holds then, a limiter of its own says.
		for range 2 {
			time.Sleep(300 * time.Millisecond)
			for _, l := range f.limiters {
				_, _ = l.Status(ctx, "booked") // the answer may still not be the store's
			}
		}
		d, err := driver.Open(ctx, f.url)
		if err != nil {
			return 0, err
		}
		defer d.Close()
		lim = throttle.New(d, throttle.Shared("booked", booked))
		defer lim.Close()
	}
	for {
		s, err := lim.Status(ctx, "booked")
		if err == nil {
			return s.Buckets[0].Level, nil
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the store doesn't answer after the fault: %w", err)
		}
	}
}

func (f *fleet) halt() {
	close(f.stop)
	f.work.Wait()
}

func (f *fleet) close() {
	for _, l := range f.limiters {
		l.Close()
	}
	for _, d := range f.drivers {
		d.Close()
	}
}
