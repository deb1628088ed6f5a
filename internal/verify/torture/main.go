// Torture breaks stores, and the way to them, in every way we could think of, while two limiters with a dozen callers
// are at work, and keeps books: what was minted (must be 0), what was lost, and how long it took until everybody was
// served again.
//
//	go run ./internal/verify/torture [-json] [-short] [-only redis|postgres] [-fault substring]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

// Row is what came of one fault on one driver.
type Row struct {
	Fault      string  `json:"fault"`
	Driver     string  `json:"driver"`
	Runs       int     `json:"runs"`
	Operations int     `json:"operations"`
	Minted     float64 `json:"minted"`
	Leaked     float64 `json:"leaked"`
	// Stated is the most that may have leaked: what was asked for and never answered.
	Stated        float64  `json:"leak_bound"`
	Failed        int      `json:"failed"`
	MaxRecoveryMS float64  `json:"max_recovery_ms"`
	// NotTried says why a fault could not be tried on this machine.
	NotTried string `json:"not_tried,omitempty"`
	// Note says what the figures don't.
	Note string `json:"note,omitempty"`
	Problems      []string `json:"problems,omitempty"`
}

func main() {
	child()
	asJSON := flag.Bool("json", false, "print JSON")
	short := flag.Bool("short", false, "each fault once, briefly: under a minute in all")
	only := flag.String("only", "", "one driver: redis or postgres")
	which := flag.String("fault", "", "only faults whose name contains this")
	flag.Parse()
	rows, err := Torture(*only, *which, *short, func(r Row) {
		if !*asJSON {
			fmt.Fprintf(os.Stderr, "%s, %s: %d operations, minted %g, leaked %g, back after %.0f ms %s%s %s\n",
				r.Driver, r.Fault, r.Operations, r.Minted, r.Leaked, r.MaxRecoveryMS, r.NotTried, r.Note, strings.Join(r.Problems, "; "))
		}
	})
	if err != nil {
		fail(err)
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(rows); err != nil {
			fail(err)
		}
	} else {
		table(rows)
	}
	for _, r := range rows {
		if r.Minted > 0 || len(r.Problems) > 0 {
			os.Exit(1)
		}
	}
}

func table(rows []Row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "driver\tfault\truns\toperations\tfailed\tminted\tleaked\tat most\tback after (worst)")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%g\t%g\t%g\t%.0f ms\n", r.Driver, r.Fault, r.Runs, r.Operations, r.Failed, r.Minted, r.Leaked, r.Stated, r.MaxRecoveryMS)
	}
	w.Flush()
}

// Torture tries every fault on every driver and returns a row each.
func Torture(only, which string, short bool, progress func(Row)) (rows []Row, err error) {
	h := newHost()
	defer h.close()
	defer func() {
		if p := recover(); p != nil {
			f, ok := p.(fatal)
			if !ok {
				panic(p)
			}
			err = f.error
		}
	}()
	if only == "" || only == "bolt" {
		if rows, err = boltTorture(which, short, progress); err != nil {
			return rows, err
		}
	}
	length := timing{warm: 500 * time.Millisecond, broken: 2 * time.Second, runs: 4}
	if short {
		length = timing{warm: 50 * time.Millisecond, broken: 250 * time.Millisecond, runs: 1}
	}
	for _, d := range []struct {
		name   string
		faults []fault
	}{{"redis", redisFaults()}, {"postgres", postgresFaults()}} {
		if only != "" && d.name != only {
			continue
		}
		s, err := newSite(h, d.name)
		if err != nil {
			return rows, err
		}
		for _, f := range d.faults {
			if !strings.Contains(f.name, which) {
				continue
			}
			row := Row{Fault: f.name, Driver: d.name}
			for range length.runs {
				if err := row.run(s, f, length); err != nil {
					return rows, fmt.Errorf("%s, %s: %w", d.name, f.name, err)
				}
			}
			rows = append(rows, row)
			progress(row)
		}
	}
	return rows, nil
}

// timing is how long a run warms up and stays broken, and how many there are of each fault.
type timing struct {
	warm, broken time.Duration
	runs         int
}

// bound is how soon everybody must be served again: a store timeout and a retry of each client, or a lease.
const bound = 12 * time.Second

// run tries the fault once.
func (r *Row) run(s *site, f fault, length timing) error {
	goroutines := runtime.NumGoroutine()
	fl, err := newFleet(context.Background(), s.url)
	if err != nil {
		return err
	}
	before, err := fl.level()
	if err != nil {
		return err
	}
	begin := time.Now()
	fl.start()
	time.Sleep(length.warm)
	if f.amnesia {
		fl.mu.Lock() // everything answered: what is lost is known
	}
	if err := f.begin(s); err != nil {
		return fmt.Errorf("break: %w", err)
	}
	if f.amnesia {
		*fl.ledger = *newLedger()
		before = burst
		fl.mu.Unlock()
	}
	time.Sleep(length.broken)
	s.proxy.Set(faultproxy.None, 0, 0)
	if f.end != nil {
		if err := f.end(s); err != nil {
			return fmt.Errorf("mend: %w", err)
		}
	}
	fl.ledger.healed()
	var recovery time.Duration
	for waited := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		n, longest := fl.ledger.recovered()
		if recovery = longest; n == callers*len(fl.limiters) {
			break
		}
		if time.Since(waited) > bound {
			r.problem("only %d of %d callers were served within %v", n, callers*len(fl.limiters), bound)
			break
		}
	}
	fl.halt()
	time.Sleep(20 * time.Millisecond) // what goes back behind the callers' backs rides in a request of its own
	level, err := fl.level()
	if err != nil {
		r.problem("%v", err)
	} else {
		refill := booked.Limit / booked.Per.Seconds() * time.Since(begin).Seconds()
		minted, leaked, stated := fl.ledger.judge(before, level, refill+1e-3)
		r.Minted += minted
		r.Leaked = max(r.Leaked, float64(int(leaked)))
		r.Stated = max(r.Stated, stated)
		if float64(int(leaked)) > stated {
			r.problem("%g tokens leaked, though only %g were in flight", leaked, stated)
		}
	}
	if f.amnesia && len(fl.missing) == 0 {
		r.problem("nobody was told that the state was lost")
	}
	fl.close()
	r.Runs++
	r.Operations += fl.ledger.operations
	r.Failed += fl.ledger.failed
	r.MaxRecoveryMS = max(r.MaxRecoveryMS, float64(recovery.Microseconds())/1000)
	return r.leftovers(s, goroutines)
}

// leftovers looks for connections and goroutines that outlived the drivers.
func (r *Row) leftovers(s *site, goroutines int) error {
	deadline := time.Now().Add(3 * time.Second)
	for s.proxy.Open() > 0 || runtime.NumGoroutine() > goroutines+2 {
		if time.Now().After(deadline) {
			r.problem("%d connections and %d goroutines were left", s.proxy.Open(), runtime.NumGoroutine()-goroutines)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func (r *Row) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}
