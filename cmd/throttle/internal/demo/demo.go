// Package demo sends one workload through a simulated provider in several ways, one after the other, and measures each.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tokenthrottle/throttle/cmd/throttle/internal/workload"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/provider"
	"github.com/tokenthrottle/throttle/internal/report"
)

// Options are what can be chosen.
type Options struct {
	// Store is where the limiters keep their state; empty is a bolt file in a temporary directory.
	Store string
	// Workers is the number of processes that send; 0 is this one.
	Workers int
	// Program is what worker processes run; empty is this program.
	Program string
	// Ideal is how long the work takes at best; 0 is DefaultIdeal or DefaultFleetIdeal. The shorter it is, the more a machine's jitter shows.
	Ideal time.Duration
	// Work is the workload; nil loads it.
	Work *workload.Workload
	// Watch sees what happens while it does; it must not be nil.
	Watch Watcher
}

// Watcher follows a run. Its methods are called one at a time.
type Watcher interface {
	// Loading comes first, Loaded when the workload is there.
	Loading()
	Loaded(w *workload.Workload, s Setting)
	// Begin starts a way of so many requests.
	Begin(title string, requests int)
	// Answer and Refusal are of the way that was begun last.
	Answer(tokens int)
	Refusal()
	// End ends it.
	End()
}

// Result is what came out of one way; its JSON form is part of the command's interface.
type Result struct {
	Name        Way   `json:"name"`
	Requests    int64 `json:"requests"`
	Rejected429 int64 `json:"rejected_429"`
	// Elapsed is from the start to the last answer, Ideal the least time that the limits allow for the tokens really
	// used, both in seconds.
	Elapsed      float64 `json:"elapsed_s"`
	Ideal        float64 `json:"ideal_s"`
	ShareOfIdeal float64 `json:"share_of_ideal"`
	// TokensReserved is what the accepted requests might have used, TokensUsed what they did.
	TokensReserved int64 `json:"tokens_reserved"`
	TokensUsed     int64 `json:"tokens_used"`

	// Curve is the tokens used by the answers so far, over seconds since the start.
	Curve []report.Point `json:"-"`
}

// Report is the whole.
type Report struct {
	Ways    []Result `json:"ways"`
	Setting Setting  `json:"-"`
}

// Run runs all ways.
func Run(ctx context.Context, o Options) (*Report, error) {
	ways, setting, err := runEach(ctx, o, Ways, (*run).way)
	if err != nil {
		return nil, err
	}
	return &Report{ways, setting}, nil
}

// runEach runs one way of doing the work after the other, on one setting.
func runEach[W ~string, R any](ctx context.Context, o Options, ways []W, do func(*run, context.Context, W) (R, error)) ([]R, Setting, error) {
	r, cleanUp, err := newRun(ctx, o)
	if err != nil {
		return nil, Setting{}, err
	}
	defer cleanUp()
	var results []R
	for _, way := range ways {
		res, err := do(r, ctx, way)
		if err != nil {
			return nil, Setting{}, fmt.Errorf("%s: %w", way, err)
		}
		results = append(results, res)
	}
	return results, r.setting, nil
}

// run is one run of the demonstration.
type run struct {
	Options
	work    *workload.Workload
	setting Setting
	id      string // no two runs share a family in a store
}

// newRun finds a store, loads the workload and chooses the limits.
func newRun(ctx context.Context, o Options) (r *run, cleanUp func(), err error) {
	switch {
	case o.Ideal == 0 && o.Workers > 0:
		o.Ideal = DefaultFleetIdeal
	case o.Ideal == 0:
		o.Ideal = DefaultIdeal
	}
	r = &run{Options: o, work: o.Work, id: rand.Text()[:8]}
	if cleanUp, err = r.prepare(); err != nil {
		return nil, nil, err
	}
	if err := r.load(ctx); err != nil {
		cleanUp()
		return nil, nil, err
	}
	return r, cleanUp, nil
}

func (r *run) load(ctx context.Context) error {
	// A store that can't be used shows now, not when the limiters' turn comes.
	d, err := driver.Open(ctx, r.Store)
	if err != nil {
		return err
	}
	if err := d.Close(); err != nil {
		return err
	}
	r.Watch.Loading()
	if r.work == nil {
		if r.work, err = workload.Load(MaxTokens); err != nil {
			return err
		}
	}
	r.setting = newSetting(r.work.Totals(), r.Ideal)
	r.Watch.Loaded(r.work, r.setting)
	return nil
}

// prepare finds a store where none was named.
func (r *run) prepare() (cleanUp func(), err error) {
	if r.Program == "" {
		if r.Program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	if r.Store != "" {
		r.Store = withTable(r.Store)
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "throttle-demo-")
	if err != nil {
		return nil, err
	}
	file := url.URL{Scheme: "bolt", Path: filepath.ToSlash(filepath.Join(dir, "limits.db"))}
	r.Store = file.String()
	return func() { _ = os.RemoveAll(dir) }, nil
}

// withTable is a store's URL that makes Postgres's table where there is none, unless it says what to do about that: nobody
// should have to prepare a demonstration.
func withTable(store string) string {
	u, err := url.Parse(store)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Query().Has("migrate") {
		return store
	}
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&migrate=true", "&")
	return u.String()
}

// way runs one way against a provider of its own.
func (r *run) way(ctx context.Context, way Way) (Result, error) {
	server, err := provider.Start(r.setting.provider(r.work.Count))
	if err != nil {
		return Result{}, err
	}
	defer server.Close()
	r.Watch.Begin(way.Title(), len(r.work.Requests))
	defer r.Watch.End()
	race, err := r.race(ctx, r.jobs(way, server.URL))
	if err != nil {
		return Result{}, err
	}
	st := server.Stats()[workload.Model]
	res := Result{
		Name: way, Requests: st.Accepted, Rejected429: st.Rejected(),
		Elapsed: race.elapsed.Seconds(), Ideal: st.Used.Ideal(r.setting.Limits, r.setting.Minute).Seconds(),
		TokensReserved: st.Charged.Tokens, TokensUsed: st.Used.Tokens, Curve: race.curve,
	}
	res.ShareOfIdeal = res.Ideal / res.Elapsed
	return res, nil
}

// jobs deals the workload out to the processes.
func (r *run) jobs(way Way, url string) []*Job {
	jobs := make([]*Job, max(1, r.Workers))
	for i := range jobs {
		jobs[i] = &Job{
			Way: way, URL: url, Store: r.Store, Family: "throttle-demo/" + r.id + "/" + string(way),
			Quotas: r.setting.quotas(), Minute: r.setting.Minute,
		}
	}
	for i, req := range r.work.Requests {
		j := jobs[i%len(jobs)]
		j.Requests = append(j.Requests, req)
	}
	return jobs
}

// race is what was seen of jobs that ran together.
type race struct {
	elapsed time.Duration
	curve   []report.Point
}

// race runs jobs together: when all are ready, all start.
func (r *run) race(ctx context.Context, jobs []*Job) (race, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan Event)
	start := make(chan struct{})
	emit := func(e Event) { events <- e }
	for _, job := range jobs {
		if r.Workers > 0 {
			go spawn(ctx, r.Program, job, start, emit)
		} else {
			go work(ctx, job, start, emit)
		}
	}
	var (
		out           race
		begun         time.Time
		errs          []error
		ready, tokens int
	)
	for running := len(jobs); running > 0; {
		switch e := <-events; e.Kind {
		case Ready:
			if ready++; ready == len(jobs) {
				begun = time.Now()
				out.curve = append(out.curve, report.Point{})
				close(start)
			}
		case Answered:
			tokens += e.Tokens
			out.elapsed = time.Since(begun)
			out.curve = append(out.curve, report.Point{X: out.elapsed.Seconds(), Y: float64(tokens)})
			r.Watch.Answer(e.Tokens)
		case Refused:
			r.Watch.Refusal()
		case Failed:
			errs = append(errs, errors.New(e.Error))
			cancel()
			running--
		case Done:
			running--
		}
	}
	return out, errors.Join(errs...)
}
