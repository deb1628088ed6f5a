package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

// timing is how long a run warms up and stays broken, and how many there are of each fault.
type timing struct {
	warm, broken time.Duration
	runs         int
}

// bound is how soon everybody must be served again: a store timeout and a retry of each client, or a lease. Slack is what
// a busy machine may add to what a call may take.
const (
	bound = 12 * time.Second
	slack = 2 * time.Second
	// storeTimeout is what a round trip of the limiters may take.
	storeTimeout = 2 * time.Second
	// placesTake is how long the proxy may take to strike at each place of a connection's life, counted in turns.
	placesTake = 30 * time.Second
	turn       = 5 * time.Millisecond
)

// run tries the fault once.
func (r *Row) run(s *site, f fault, length timing) error {
	goroutines, connections := runtime.NumGoroutine(), s.open()
	fl, err := newFleet(context.Background(), s.url, f.standIn)
	if err != nil {
		return err
	}
	mayTake := patience
	if f.down != undefined {
		// Nobody's own context ends a call: it waits for the batch before its own to fail, and for its own.
		fl.patience, mayTake = longPatience, 2*storeTimeout
	}
	before, err := fl.level()
	if err != nil {
		return err
	}
	var behind *lag
	if f.lag != nil {
		if behind, err = f.lag(s); err != nil {
			return err
		}
	}
	start := time.Now()
	stood := standstill()
	fl.start()
	time.Sleep(max(length.warm, f.warm))
	if f.amnesia {
		fl.mu.Lock() // everything answered: what is lost is known
	}
	sense, err := f.felt.before(s)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := f.begin(s); err != nil {
		return fmt.Errorf("break: %w", err)
	}
	broken := time.Now()
	if f.amnesia {
		*fl.ledger = *newLedger()
		before = burst
		fl.mu.Unlock()
	}
	r.stayBroken(s, f, fl, length)
	mending := time.Now()
	if s.proxy != nil {
		s.proxy.Set(faultproxy.None, 0, 0)
	}
	if f.end != nil {
		if err := f.end(s); err != nil {
			return fmt.Errorf("mend: %w", err)
		}
	}
	mended := time.Now()
	var lost span // whose answers the store may have forgotten
	switch {
	case behind != nil:
		promoted, may, err := behind.end()
		if err != nil {
			r.problem("%v", err)
		} else if lost = may; promoted.Before(mending) {
			mending = promoted // from then on there is somebody to answer
		}
		r.lost(lost)
	case f.down == everything:
		lost = span{began, mended.Add(time.Second)}
	}
	fl.ledger.healed()
	recovery := r.recovery(fl)
	fl.halt()
	time.Sleep(20 * time.Millisecond) // what goes back behind the callers' backs rides in a request of its own
	if level, err := fl.level(); err != nil {
		r.problem("%v", err)
	} else {
		r.judge(f, fl.ledger, before, level, start, lost)
	}
	for _, missed := range sense.missed(s, fl, broken, mending) {
		r.problem("%s", missed)
	}
	if f.amnesia && len(fl.missing) == 0 {
		r.problem("nobody was told that the state was lost")
	}
	fl.close()
	r.Runs++
	r.Operations += fl.ledger.operations
	r.Failed += fl.ledger.failed
	still := stood()
	r.MaxRecoveryMS = max(r.MaxRecoveryMS, float64(span{mended, mended.Add(recovery)}.without(still).Microseconds())/1000)
	longest := fl.ledger.longest(still)
	r.LongestMS = max(r.LongestMS, float64(longest.Milliseconds()))
	if longest > mayTake+slack {
		r.problem("a call took %v, want %v at most, with a store timeout of %v", longest, mayTake, storeTimeout)
	}
	r.leftovers(s, goroutines, connections)
	return nil
}

// standstill watches when this process gets no turn at all, as one that is stopped; the function it returns ends that and
// tells. What lasts less than half a second doesn't count: that is what slack is for.
func standstill() func() []span {
	done, total := make(chan struct{}), make(chan []span)
	go func() {
		var all []span
		for last := time.Now(); ; {
			select {
			case <-done:
				total <- all
				return
			case <-time.After(50 * time.Millisecond):
			}
			now := time.Now()
			if now.Sub(last) > 500*time.Millisecond {
				all = append(all, span{last, now})
			}
			last = now
		}
	}()
	return func() []span {
		close(done)
		return <-total
	}
}

// stayBroken waits while the fault lasts.
func (r *Row) stayBroken(s *site, f fault, fl *fleet, length timing) {
	switch {
	case f.down != undefined:
		if f.down == nothing {
			time.Sleep(time.Second) // answers that were on their way
		}
		fl.ledger.out(true)
		began := time.Now()
		time.Sleep(max(length.broken, outageLasts))
		fl.ledger.out(false)
		if wrong := f.down.judge(fl.ledger, time.Since(began)); wrong != "" {
			r.problem("%s", wrong)
		}
	case f.places:
		began := time.Now()
		for range int(placesTake / turn) {
			if n, of := s.proxy.Each(); n == of && time.Since(began) > length.broken {
				break
			}
			time.Sleep(turn)
		}
		n, of := s.proxy.Each()
		r.Note = fmt.Sprintf("at %d of %d places of a connection's life", n, of)
		if n < of {
			r.problem("only %s", r.Note)
		}
	default:
		time.Sleep(length.broken)
	}
}

// recovery is how long it took until every caller was served again.
func (r *Row) recovery(fl *fleet) time.Duration {
	all := callers * len(fl.limiters)
	n, longest := 0, time.Duration(0)
	for range int(bound / turn) { // turns, so that standing still doesn't count
		if n, longest = fl.ledger.recovered(); n == all {
			return longest
		}
		time.Sleep(turn)
	}
	r.problem("only %d of %d callers were served within %v", n, all, bound)
	return bound
}

// judge compares the books with the store's level, and what was granted of the family that is always short with what its
// quota allows. What was answered in the time that is lost may be forgotten.
func (r *Row) judge(f fault, l *ledger, before, level float64, start time.Time, lost span) {
	elapsed := time.Since(start) + f.ahead
	minted, leaked, stated := l.judge(before, level, booked.Limit/booked.Per.Seconds()*elapsed.Seconds()+1e-3)
	allowed := tight.Limit * (1 + elapsed.Seconds()) // a burst, and what refilled
	if f.ahead > 0 {
		allowed = tight.Limit * (2 + (elapsed - f.ahead).Seconds()) // no more than a burst comes at once
	}
	if f.amnesia {
		allowed += tight.Limit
	}
	forgettable := l.during(lost)
	forgotten := min(minted, forgettable.granted)
	minted -= forgotten
	stated += forgettable.credited
	r.Forgotten = max(r.Forgotten, float64(int(forgotten)))
	r.Minted += minted + max(0, l.tight-allowed-forgettable.tight)
	r.Leaked = max(r.Leaked, float64(int(leaked)))
	r.Stated = max(r.Stated, stated)
	if float64(int(leaked)) > stated {
		r.problem("%g tokens leaked, though only %g were in flight", leaked, stated)
	}
}

// lost notes the longest time whose answers a store may have forgotten in a run.
func (r *Row) lost(s span) {
	r.LostMS = max(r.LostMS, float64(s.to.Sub(s.from).Microseconds())/1000)
	r.Note = fmt.Sprintf("what it answered in %.0f ms may be lost", r.LostMS)
}

// leftovers looks for connections and goroutines that outlived the drivers.
func (r *Row) leftovers(s *site, goroutines, connections int) {
	deadline := time.Now().Add(3 * time.Second)
	for s.open() > connections || runtime.NumGoroutine() > goroutines+2 {
		if time.Now().After(deadline) {
			r.problem("%d connections and %d goroutines were left", s.open()-connections, runtime.NumGoroutine()-goroutines)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *Row) problem(format string, args ...any) {
	if len(r.Problems) < 5 {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}
