package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/tokenthrottle/throttle/driver/postgres" // the stores that are tortured
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// Job is what to try.
type Job struct {
	// Driver is redis, postgres or bolt, and Fault a part of a fault's name; empty: all.
	Driver, Fault string
	// Short tries each fault once and briefly.
	Short bool
	// Shared leaves out faults that need a server of their own.
	Shared bool
	// Own leaves out all others.
	Own bool
}

// groupVariable holds a Job, as JSON, in the environment of a program that is to try a group of faults. Each group has a
// process of its own, so that what connections and goroutines are left can be told; they run side by side, since all of
// them mostly wait.
const groupVariable = "THROTTLE_TORTURE_GROUP"

// Torture tries every fault on every driver and returns a row each.
func Torture(job Job, progress func(Row)) ([]Row, error) {
	var groups []Job
	for _, name := range []string{"redis", "postgres", "bolt"} {
		if job.Driver != "" && job.Driver != name {
			continue
		}
		g := job
		g.Driver = name
		if name == "bolt" || job.Shared {
			groups = append(groups, g)
			continue
		}
		shared, own := g, g
		shared.Shared, own.Own = true, true
		groups = append(groups, shared, own)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	rows, errs := make([][]Row, len(groups)), make([]error, len(groups))
	for i, g := range groups {
		wg.Go(func() {
			errs[i] = g.start(func(r Row) {
				mu.Lock()
				defer mu.Unlock()
				rows[i] = append(rows[i], r)
				progress(r)
			})
		})
	}
	wg.Wait()
	return slices.Concat(rows...), errors.Join(errs...)
}

// start has a process of its own try a group.
func (j Job) start(progress func(Row)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), groupVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var row Row
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		progress(row)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", j.Driver, err)
	}
	return nil
}

// groupChild tries a group, prints its rows, and ends the process.
func groupChild(text string) {
	os.Unsetenv(groupVariable) // a bolt group has children of its own
	var j Job
	out := json.NewEncoder(os.Stdout)
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.try(func(r Row) { _ = out.Encode(r) }) // who reads it is gone otherwise
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (j Job) timing() timing {
	if j.Short {
		return timing{warm: 50 * time.Millisecond, broken: 250 * time.Millisecond, runs: 1}
	}
	return timing{warm: 500 * time.Millisecond, broken: 2 * time.Second, runs: 4}
}

// try tries the group's faults.
func (j Job) try(progress func(Row)) error {
	if j.Driver == "bolt" {
		_, err := boltTorture(j.Fault, j.Short, progress)
		return err
	}
	faults, usual := redisFaults(), redisSite
	if j.Driver == "postgres" {
		faults, usual = postgresFaults(), postgresSite
	}
	faults = slices.DeleteFunc(faults, func(f fault) bool {
		return !strings.Contains(f.name, j.Fault) || j.Shared && f.site != nil || j.Own && f.site == nil
	})
	if len(faults) == 0 {
		return nil
	}
	if !j.Own {
		return j.onOne(usual, faults, progress)
	}
	for len(faults) > 0 {
		f := faults[0]
		if f.mended {
			n := 1
			for n < len(faults) && faults[n].mended {
				n++
			}
			if err := j.onOne(f.site, faults[:n], progress); err != nil {
				return err
			}
			faults = faults[n:]
			continue
		}
		row := Row{Fault: f.name, Driver: j.Driver}
		for range j.timing().runs {
			err := onSite(f.site, func(s *site) error { return row.run(s, f, j.timing()) })
			var none notHere
			if errors.As(err, &none) {
				row.NotTried = none.Error()
				break
			}
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
		progress(row)
		faults = faults[1:]
	}
	return nil
}

// onOne tries faults on one site.
func (j Job) onOne(with func(testing.TB) (*site, error), faults []fault, progress func(Row)) error {
	err := onSite(with, func(s *site) error {
		for _, f := range faults {
			row := Row{Fault: f.name, Driver: j.Driver}
			for range j.timing().runs {
				if err := row.run(s, f, j.timing()); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
			}
			progress(row)
		}
		return nil
	})
	var none notHere
	if !errors.As(err, &none) {
		return err
	}
	for _, f := range faults {
		progress(Row{Fault: f.name, Driver: j.Driver, NotTried: none.Error()})
	}
	return nil
}

// notHere is the error of a site that can't be had on this machine.
type notHere struct{ error }

// onSite makes a site, and ends it with all that belongs to it when f has returned.
func onSite(with func(testing.TB) (*site, error), f func(*site) error) (err error) {
	var failed error
	err = testservice.Command(func(t testing.TB) {
		s, err := with(t)
		if err != nil {
			failed = notHere{err}
			return
		}
		failed = f(s)
	})
	if errors.Is(err, testservice.ErrMissing) {
		return notHere{err}
	}
	return errors.Join(err, failed)
}
