// Package fleet runs limiters in processes of their own on one store, and judges from outside what they did together:
// how they shared, how long they waited, and that they never took more than there was.
package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/postgres" // the stores that processes share
	_ "github.com/tokenthrottle/throttle/driver/redis"
)

// Job is what one process does.
type Job struct {
	Name   string
	Store  string // URL
	Family string
	Quotas []throttle.Quota
	Flow   string // empty: the process is a flow of its own
	Weight float64
	// Callers is how many calls the process makes at once.
	Callers int
	// Min and Max bound what a call reserves, in tokens; it uses a part of it, UsedMin to UsedMax.
	Min, Max         float64
	UsedMin, UsedMax float64
	// Latency is how long a call takes.
	Latency time.Duration
	// Every is the pause between two calls of a caller; 0 for one who always wants more.
	Every time.Duration
	// For is how long the process works, from the moment it is told to start.
	For time.Duration
	// Warm is how much of that isn't counted in grants, waits and use: the first burst goes to whoever asks first.
	Warm time.Duration
	Seed uint64 // of what a call costs and takes
	// Provider is the URL of a simulated API that each call is sent to; empty: a call is a pause of Latency, and what it
	// uses is drawn at random.
	Provider string
}

// Event is one change of the levels, at the store's time.
type Event struct {
	At    bucket.Micros
	Debit float64 // negative for a credit
}

// Report is what a process did.
type Report struct {
	Name     string
	Grants   int
	Used     float64 // tokens
	Waits    []time.Duration
	Asks     int // acquires that the store decided, each call's first included
	Polls    int // those of them that were for a place in line
	Trips    int // round trips
	Events   []Event
	Errors   []string
	MaxWait  time.Duration
	Largest  float64
	Finished bool
}

// audited passes requests on and notes what they did at the store's time.
type audited struct {
	driver.Driver
	mu     sync.Mutex
	report *Report
	inLine map[string]bool // places
}

// notifying is an audited driver that notifies.
type notifying struct {
	*audited
	driver.Notifier
}

func audit(d driver.Driver, r *Report) driver.Driver {
	a := &audited{Driver: d, report: r, inLine: map[string]bool{}}
	if n, ok := d.(driver.Notifier); ok {
		return &notifying{a, n}
	}
	return a
}

func (a *audited) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	responses, err := a.Driver.Apply(ctx, batch)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Trips++
	if err != nil {
		return nil, err
	}
	for i := range batch {
		tokens := batch[i].Limits.Resource("tokens")
		for j := range batch[i].Ops {
			op, res := &batch[i].Ops[j], &responses[i].Results[j]
			switch {
			case op.Kind == bucket.Acquire && (res.Status == bucket.Granted || res.Status == bucket.Refused):
				a.report.Asks++
				if a.inLine[op.Place] {
					a.report.Polls++
				}
				a.inLine[op.Place] = res.Status == bucket.Refused
				if res.Status == bucket.Granted {
					a.report.Events = append(a.report.Events, Event{responses[i].Now, op.Cost[tokens]})
				}
			case op.Kind == bucket.Leave:
				delete(a.inLine, op.Place)
			case op.Kind == bucket.Adjust:
				a.report.Events = append(a.report.Events, Event{responses[i].Now, -op.Cost[tokens]})
			}
		}
	}
	return responses, nil
}

// call does what a reservation is for, and returns what it used.
func (j *Job) call(rng *rand.Rand, cost float64) (used float64, err error) {
	if j.Provider == "" {
		time.Sleep(j.Latency/2 + time.Duration(rng.Float64()*float64(j.Latency)))
		return float64(int(cost * (j.UsedMin + rng.Float64()*(j.UsedMax-j.UsedMin)))), nil
	}
	const prompt = 40 // tokens, with what the format adds
	body := fmt.Sprintf(`{"model":"m","max_tokens":%d,"messages":[{"role":"user","content":"call %d"}]}`, int(cost)-prompt, rng.Uint64())
	fmt.Println(beginLine)
	response, err := http.Post(j.Provider+"/v1/chat/completions", "application/json", strings.NewReader(body))
	if err != nil {
		return cost, err
	}
	defer response.Body.Close()
	var answer struct {
		Usage struct {
			Total float64 `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return cost, fmt.Errorf("the provider answered %s", response.Status)
	}
	fmt.Println(endLine)
	return answer.Usage.Total, nil
}

// What a worker prints before it sends a call to the provider, and when the provider has answered it.
const (
	beginLine = "begin"
	endLine   = "end"
)

// Work is a process's whole life: it says that it is ready, waits for a line on stdin, works, and reports on stdout.
func Work(job Job) error {
	ctx := context.Background()
	report := &Report{Name: job.Name}
	store, err := driver.Open(ctx, job.Store)
	if err != nil {
		return err
	}
	defer store.Close()
	var options []throttle.Option
	if job.Flow != "" {
		options = append(options, throttle.Flow(job.Flow, job.Weight))
	}
	lim := throttle.New(audit(store, report), throttle.Shared(job.Family, job.Quotas...), options...)
	if _, err := lim.Status(ctx, "warm"); err != nil { // connected
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}

	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, job.For)
	defer cancel()
	var mu sync.Mutex
	var used atomic.Int64
	var wg sync.WaitGroup
	for i := range job.Callers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(job.Seed, uint64(i)))
			for time.Since(begin) < job.For {
				cost := float64(int(job.Min + rng.Float64()*(job.Max-job.Min)))
				asked := time.Now()
				r, err := lim.Acquire(ctx, "m", throttle.Usage{"tokens": cost})
				granted := time.Now()
				waited := granted.Sub(asked)
				if err != nil {
					if ctx.Err() == nil {
						mu.Lock()
						report.Errors = append(report.Errors, err.Error())
						mu.Unlock()
					}
					continue
				}
				actual, err := job.call(rng, cost)
				if err != nil {
					mu.Lock()
					report.Errors = append(report.Errors, err.Error())
					mu.Unlock()
				}
				if err := r.Settle(ctx, throttle.Usage{"tokens": actual}); err != nil {
					mu.Lock()
					report.Errors = append(report.Errors, err.Error())
					mu.Unlock()
				}
				if granted.Sub(begin) < job.Warm {
					continue
				}
				used.Add(int64(actual))
				mu.Lock()
				report.Grants++
				report.Waits = append(report.Waits, waited)
				report.MaxWait = max(report.MaxWait, waited)
				report.Largest = max(report.Largest, cost)
				mu.Unlock()
				if job.Every > 0 {
					time.Sleep(job.Every/2 + time.Duration(rng.Float64()*float64(job.Every)))
				}
			}
		})
	}
	wg.Wait()
	lim.Close()
	report.Used = float64(used.Load())
	report.Finished = true
	return json.NewEncoder(os.Stdout).Encode(report)
}
