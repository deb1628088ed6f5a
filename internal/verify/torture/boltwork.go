package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/internal/verify/faultdisk"
)

// childVariable holds a boltJob, as JSON, in the environment of a program that is to work on a file and meet a fault.
const childVariable = "THROTTLE_TORTURE_CHILD"

// boltJob is what a child does.
type boltJob struct {
	Path string
	Op   faultdisk.Op
	// At is which of the calls of Op meets the fault, from 1; 0: none does.
	At int
	// Verdict is the fault. One that doesn't kill strikes Times calls in a row.
	Action faultdisk.Action
	Err    syscall.Errno
	Times  int
	// ThenErr is what the calls after the first fail with, if not 0.
	ThenErr syscall.Errno
}

const (
	boltCallers = 3
	boltCalls   = 5 // of each caller
)

// child turns the program into one that works on a file, or that tries a group of faults, if it was started so.
func child() {
	if text := os.Getenv(groupVariable); text != "" {
		groupChild(text)
	}
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var job boltJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.work()
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// decide is asked about every call to the disk.
func (j *boltJob) decide(seen *[4]int, o faultdisk.Op) faultdisk.Verdict {
	seen[o]++
	n := seen[o] - j.At
	if j.At == 0 || o != j.Op || n < 0 || n >= max(1, j.Times) {
		return faultdisk.Verdict{}
	}
	if n == 0 {
		tell("struck")
	}
	if n > 0 && j.ThenErr != 0 {
		return faultdisk.Verdict{Action: faultdisk.Fail, Err: j.ThenErr}
	}
	return faultdisk.Verdict{Action: j.Action, Err: j.Err}
}

// tell prints a line whole, at once: what was told before a process is killed was told.
func tell(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) // whoever reads it is gone otherwise
}

// work opens the file, makes its calls, sees that calls succeed again in the end, and tells of each what became of it.
func (j *boltJob) work() error {
	var seen [4]int
	if err := faultdisk.Install(func(o faultdisk.Op) faultdisk.Verdict { return j.decide(&seen, o) }); err != nil {
		tell("missing %v", err)
		return nil
	}
	lim, closeAll, err := j.open()
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for caller := range boltCallers {
		all.Go(func() {
			for i := range boltCalls {
				boltCall(lim, fmt.Sprintf("%d.%d", caller, i), float64(100+10*i+caller))
			}
		})
	}
	all.Wait()
	// The disk is well again, unless the fault lies behind all this.
	start := time.Now()
	for again := 0; ; again++ {
		name := fmt.Sprint("last.", again)
		if boltCall(lim, name, 1) == nil {
			break
		}
		closeAll()
		if again > 3*max(1, j.Times) {
			return errors.New("calls don't succeed again")
		}
		if lim, closeAll, err = j.open(); err != nil {
			return err
		}
	}
	tell("recovered %d", time.Since(start).Microseconds())
	closeAll()
	tell("calls %d %d %d %d", seen[0], seen[1], seen[2], seen[3])
	return nil
}

// open opens the file. Where the fault strikes here, an attempt once it is over must succeed.
func (j *boltJob) open() (*throttle.Limiter, func(), error) {
	for attempt := 0; ; attempt++ {
		lim, closeAll, err := openBolt(j.Path)
		if err == nil || attempt == max(1, j.Times) {
			return lim, closeAll, err
		}
		tell("unopened %v", err)
	}
}

func openBolt(path string) (*throttle.Limiter, func(), error) {
	d, err := driver.Open(context.Background(), "bolt://"+path)
	if err != nil {
		return nil, nil, err
	}
	lim := throttle.New(d, throttle.Shared("booked", booked), throttle.StoreTimeout(2*time.Second))
	return lim, func() {
		lim.Close()
		d.Close()
	}, nil
}

// boltCall reserves, and gives half back.
func boltCall(lim *throttle.Limiter, name string, cost float64) error {
	tell("take %s %g", name, cost)
	r, err := lim.TryAcquire(context.Background(), "m", throttle.Usage{"tokens": cost})
	told(name, err)
	if err != nil {
		return err
	}
	back := float64(int(cost / 2))
	tell("give %s %g", name, back)
	err = r.Settle(context.Background(), throttle.Usage{"tokens": cost - back})
	told(name, err)
	return err
}

// told tells what became of the operation that was told of last under this name.
func told(name string, err error) {
	switch {
	case err == nil:
		tell("done %s", name)
	case unknown(err):
		tell("unknown %s %v", name, err)
	default:
		tell("failed %s %v", name, err)
	}
}

// errDamaged is what a file that can't be trusted must be reported as.
func errDamaged(err error) bool {
	return errors.Is(err, bolt.ErrDamaged) || errors.Is(err, bolt.ErrForeign) || errors.Is(err, bolt.ErrFormat)
}
