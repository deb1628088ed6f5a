// Soak keeps every driver at saturation for half an hour, each in a process of its own beside the others: a family that
// is always short, with flows, priorities, debts, calls that are cancelled and calls that die; families that come, are
// used once and go; limiters that come and go. It samples what may grow (memory, goroutines, connections, keys, the
// store's size), draws it, and fails unless all of it is flat and no capacity was minted.
//
//	go run ./internal/verify/soak [-length 30m] [-every 10s] [-only postgres] [-samples file] [-img folder] [-json]
//	go run ./internal/verify/soak -from file [-img folder]
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/tokenthrottle/throttle/internal/report"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func main() {
	var (
		length  = flag.Duration("length", 30*time.Minute, "how long")
		every   = flag.Duration("every", 10*time.Second, "how often to look")
		only    = flag.String("only", "", "one driver: memory, bolt, redis or postgres")
		samples = flag.String("samples", "", "write what was measured to this file, a JSON object a line")
		from    = flag.String("from", "", "judge and draw what such a file holds, instead of running")
		img     = flag.String("img", "", "draw soak-*.svg into this folder")
		asJSON  = flag.Bool("json", false, "print the verdict as JSON")
		worker  = flag.String("worker", "", "be the process of this driver (for soak itself)")
		url     = flag.String("url", "", "its store")
	)
	flag.Parse()
	p := plan{*length, *every}
	if *worker != "" {
		fail(work(*worker, *url, p))
		return
	}
	var all []message
	var err error
	if *from != "" {
		all, err = load(*from)
	} else {
		list := drivers
		if *only != "" {
			list = []string{*only}
		}
		all, err = run(list, p, *samples)
	}
	fail(err)
	var taken []Sample
	var ends []End
	for _, m := range all {
		if m.Sample != nil {
			taken = append(taken, *m.Sample)
		} else if m.End != nil {
			ends = append(ends, *m.End)
		}
	}
	v := judge(taken, ends)
	if *img != "" {
		fail(draw(*img, taken, v))
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		fail(e.Encode(v))
	} else {
		v.print(os.Stdout)
	}
	if len(v.Problems) > 0 || len(ends) == 0 {
		os.Exit(1)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// message is a line of what a worker says, and of the file of samples.
type message struct {
	Sample *Sample `json:"sample,omitempty"`
	End    *End    `json:"end,omitempty"`
}

// work is a worker: it says what it measures on its standard output, and ends, at the latest, when its standard input
// does.
func work(name, url string, p plan) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	out := json.NewEncoder(os.Stdout)
	s := &soak{join: joiner(name, url)}
	var lost error
	end, err := s.run(ctx, p, func(sample Sample) {
		sample.Driver = name
		lost = cmp.Or(lost, out.Encode(message{Sample: &sample}))
	})
	if err = errors.Join(err, lost); err != nil {
		return err
	}
	end.Driver = name
	if err := out.Encode(message{End: &end}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// run starts the stores and a worker for each driver, and gathers what they say until the last has ended.
func run(list []string, p plan, file string) (all []message, err error) {
	keep := io.Discard
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		keep = f
	}
	var mu sync.Mutex
	out := json.NewEncoder(keep)
	note := func(m message) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
		return out.Encode(m)
	}
	failed := testservice.Command(func(t testing.TB) {
		var stores []*store
		for _, name := range list {
			s, err := newStore(t, name)
			if err != nil {
				t.Fatal(err)
			}
			stores = append(stores, s)
		}
		errs := make([]error, len(stores))
		var all sync.WaitGroup
		for i, s := range stores {
			all.Go(func() {
				if errs[i] = s.watch(t.Context(), p, note); errs[i] != nil {
					errs[i] = fmt.Errorf("%s: %w", s.driver, errs[i])
				}
			})
		}
		all.Wait()
		err = errors.Join(errs...)
	})
	return all, errors.Join(failed, err)
}

// watch runs a store's worker, adds what is measured from outside to what it measures, and hands it on.
func (s *store) watch(ctx context.Context, p plan, note func(message) error) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "-worker", s.driver, "-url", s.url, "-length", p.length.String(), "-every", p.every.String())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	scan := bufio.NewScanner(stdout)
	for scan.Scan() && err == nil {
		var m message
		if err = json.Unmarshal(scan.Bytes(), &m); err != nil {
			break
		}
		err = s.add(ctx, &m)
		if err == nil {
			err = note(m)
		}
		if m.End != nil {
			break
		}
	}
	stdin.Close()
	return errors.Join(err, scan.Err(), cmd.Wait())
}

func (s *store) add(ctx context.Context, m *message) error {
	if s.measure == nil {
		return nil
	}
	for tries := 0; ; tries++ {
		more, err := s.measure(ctx)
		if err != nil {
			return err
		}
		switch {
		case m.Sample != nil:
			for name, value := range more {
				m.Sample.Measures[name] = value
			}
			fmt.Fprintf(os.Stderr, "%-8s %6.0f s  %d calls, %d failed, stalled %.1f s  %v\n",
				s.driver, m.Sample.Seconds, m.Sample.Operations, m.Sample.Failed, m.Sample.Stalled, m.Sample.Measures)
			return nil
		case m.End != nil:
			// A server may need a moment to notice that its clients are gone.
			if m.End.Connections = int(more[connections]); m.End.Connections == 0 || tries == 50 {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// load reads a file of samples.
func load(file string) (all []message, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for d := json.NewDecoder(f); ; {
		var m message
		if err := d.Decode(&m); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, m)
	}
}

func (v *Verdict) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "driver\tmeasure\tmean\trise\tallowed\t")
	for _, f := range v.Findings {
		mark := "flat"
		if !f.Flat {
			mark = "NOT FLAT"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Driver, f.Measure, amount(f.Measure, f.Mean), f.rise(), f.bound(), mark)
	}
	w.Flush()
	for _, e := range v.Ends {
		fmt.Fprintf(to, "%s: minted %g, not used %.1f %% of %s tokens\n", e.Driver, e.Minted, 100*e.Lost/e.Allowed, report.Whole(int64(e.Allowed)))
	}
	for _, p := range v.Problems {
		fmt.Fprintln(to, "problem:", p)
	}
}
