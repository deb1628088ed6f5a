package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
)

// soak is one process at work on one driver.
type soak struct {
	// join opens the store as another process does; leave closes what it opened.
	join  func(context.Context) (d driver.Driver, leave func(), err error)
	books books
	stop  chan struct{}
	pulse pulse
}

// plan is how long a soak takes and how often it looks.
type plan struct{ length, every time.Duration }

// A Sample is what is measured at one moment. A measure that this machine or driver doesn't have is left out.
type Sample struct {
	Driver  string  `json:"driver"`
	Seconds float64 `json:"seconds"` // since the start
	// Operations, Failed and Came are counts since the start; Came of keys that nobody had used before. Stalled is the longest time, in seconds since the sample before,
	// for which the process was not given a processor.
	Operations int                `json:"operations"`
	Failed     int                `json:"failed"`
	Came       int                `json:"came"`
	Stalled    float64            `json:"stalled"`
	Measures   map[string]float64 `json:"measures"`
}

// End is what a soak comes to, apart from its samples.
type End struct {
	Driver string `json:"driver"`
	// Length is how long the soak was to be, Stalled for how long the process had no processor, both in seconds.
	Length  float64 `json:"length"`
	Stalled float64 `json:"stalled"`
	// Allowed is a burst and what refilled, in tokens; Minted is what there was beyond it, Lost what nobody got.
	Allowed float64 `json:"allowed"`
	Minted  float64 `json:"minted"`
	Lost    float64 `json:"lost"`
	// Left is how many goroutines outlived everything that was closed.
	Left         int    `json:"left"`
	Connections  int    `json:"connections"` // that outlived it
	FirstFailure string `json:"first_failure,omitempty"`
}

// run works for as long as the plan says and hands a sample to emit each time one is due. If it can't begin it returns
// an error.
func (s *soak) run(ctx context.Context, p plan, emit func(Sample)) (End, error) {
	before := runtime.NumGoroutine()
	s.stop = make(chan struct{})
	var limiters []*throttle.Limiter
	var drivers []driver.Driver
	var leaves []func()
	defer func() {
		for _, leave := range leaves {
			leave()
		}
	}()
	for range 2 {
		d, leave, err := s.join(ctx)
		if err != nil {
			return End{}, err
		}
		drivers, leaves = append(drivers, d), append(leaves, leave)
		limiters = append(limiters, throttle.New(d, models))
	}
	first, err := limiters[0].Status(ctx, hot)
	if err != nil {
		return End{}, err
	}
	level := first.Buckets[bucketOf(first, "tokens")].Level

	var work sync.WaitGroup
	s.pulse.start(&work, s.stop)
	n := uint64(0)
	each := func(lim *throttle.Limiter, every time.Duration, do func(*caller)) {
		n++
		c := &caller{soak: s, lim: lim, rng: rand.New(rand.NewPCG(7, n))}
		work.Go(func() {
			for c.pause(every) {
				do(c)
			}
		})
	}
	for _, lim := range limiters {
		for range hotCallers {
			each(lim, 0, (*caller).queue)
		}
		// Several, so that a visit that has to wait keeps nobody from coming.
		for range 4 {
			each(lim, 4*time.Second/newKeys, (*caller).visit)
		}
	}
	each(nil, 0, func(c *caller) {
		if c.pause(rand.N(2 * turnover)) {
			c.come(ctx)
		}
	})

	begin := time.Now()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for time.Since(begin) < p.length && ctx.Err() == nil {
		select {
		case <-tick.C:
			sample := Sample{Seconds: time.Since(begin).Seconds(), Stalled: s.pulse.longest().Seconds(), Measures: process()}
			sample.Operations, sample.Failed, sample.Came = s.books.counts()
			if l, ok := drivers[0].(interface{ Len() int }); ok {
				sample.Measures[keys] = float64(l.Len())
			}
			emit(sample)
		case <-ctx.Done():
		}
	}
	close(s.stop)
	work.Wait()

	end := End{FirstFailure: s.books.firstFailure, Length: p.length.Seconds(), Stalled: s.pulse.total.Seconds()}
	last, err := s.settled(ctx, limiters[0])
	if err != nil {
		return end, fmt.Errorf("at the end: %w", err)
	}
	end.Allowed = level + hotRate*last.Now.Sub(first.Now).Seconds()
	end.Minted, end.Lost = s.books.judge(last.Buckets[bucketOf(last, "tokens")].Level, end.Allowed)
	for _, lim := range limiters {
		lim.Close()
	}
	for _, leave := range leaves {
		leave()
	}
	leaves = nil
	deadline := time.Now().Add(5 * time.Second)
	for end.Left = runtime.NumGoroutine() - before; end.Left > 0 && time.Now().Before(deadline); end.Left = runtime.NumGoroutine() - before {
		time.Sleep(10 * time.Millisecond)
	}
	return end, nil
}

// settled is the hot family's state once what goes back behind the callers' backs has gone.
func (s *soak) settled(ctx context.Context, lim *throttle.Limiter) (status throttle.Status, err error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, err = lim.Status(ctx, hot)
		if (err == nil && len(status.Line) == 0) || time.Now().After(deadline) {
			return status, err
		}
	}
}

func bucketOf(s throttle.Status, resource string) int {
	for i, b := range s.Buckets {
		if b.Resource == resource {
			return i
		}
	}
	panic("the hot family has no " + resource)
}

// What is measured.
const (
	heap        = "live heap"
	rss         = "resident memory"
	goroutines  = "goroutines"
	connections = "connections"
	keys        = "keys"
	size        = "size of the store"
)

// process measures this process. The heap is what the last collection found alive.
func process() map[string]float64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	m := map[string]float64{heap: float64(live[0].Value.Uint64()), goroutines: float64(runtime.NumGoroutine())}
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages, err := strconv.Atoi(fields[1]); err == nil {
				m[rss] = float64(pages * os.Getpagesize())
			}
		}
	}
	return m
}

// pulse notices when the process gets no processor: what times out then is not the store's fault, nor ours.
type pulse struct {
	mu    sync.Mutex
	worst time.Duration
	total time.Duration // of stalls of a second and more
}

const beat = 100 * time.Millisecond

func (p *pulse) start(work *sync.WaitGroup, stop chan struct{}) {
	work.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := time.Now()
			p.mu.Lock()
			late := now.Sub(last) - beat
			p.worst = max(p.worst, late)
			if late > time.Second {
				p.total += late
			}
			p.mu.Unlock()
			last = now
		}
	})
}

// longest is the longest stall since it was asked last.
func (p *pulse) longest() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	worst := p.worst
	p.worst = 0
	return worst
}
