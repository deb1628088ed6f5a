// Mutate breaks the code on purpose, one small change at a time, and sees whether the tests notice: a change that
// survives them is a rule that nobody checks. It changes nothing on disk. All mutants of a place are built at once, as one
// program that is told by its environment which of them to be, so that trying one costs no build.
//
//	go run ./internal/verify/mutate [-n 140] [-seed 1] [-only bucket] [-j 2] [-json]
//
// Which mutants are tried is drawn at random from all that the operators give (see go.go and lua.go), a part from each
// place. A test that fails is run once more on the unbroken code: one that fails there too has noticed nothing. The
// command fails when one survives that explained.go doesn't show to do the same as the code; it says so too when the others are
// fewer than 95 %.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
)

// least is the part that the tests must kill of the mutants that aren't explained to be the same as the code.
const least = 0.95

func main() {
	n := flag.Int("n", 140, "how many mutants")
	seed := flag.Uint64("seed", 1, "which ones")
	only := flag.String("only", "", "one place")
	match := flag.String("match", "", "of those that are drawn, only mutants whose description holds this")
	workers := flag.Int("j", 2, "how many at a time")
	asJSON := flag.Bool("json", false, "print JSON")
	list := flag.Bool("list", false, "list every mutant there is and try none")
	flag.Parse()
	if err := run(&options{*n, *seed, *only, *match, *workers, *asJSON, *list}); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

type options struct {
	n            int
	seed         uint64
	only, match  string
	workers      int
	asJSON, list bool
}

func run(o *options) error {
	var verdicts []Verdict
	possible := map[string]int{}
	for _, p := range places {
		if o.only != "" && p.name != o.only {
			continue
		}
		dir, err := os.MkdirTemp("", "throttle-mutants-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b, err := build(p, dir, o.list)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		possible[p.name] = len(b.mutants)
		if o.list {
			for _, m := range b.mutants {
				fmt.Println(p.name, m)
			}
			continue
		}
		if err := b.baseline(); err != nil {
			return fmt.Errorf("%s: the tests fail on the code as it is: %w", p.name, err)
		}
		rng := rand.New(rand.NewPCG(o.seed, 0))
		rng.Shuffle(len(b.mutants), func(i, j int) { b.mutants[i], b.mutants[j] = b.mutants[j], b.mutants[i] })
		drawn := b.mutants[:min(len(b.mutants), int(float64(o.n)*p.part+0.5))]
		drawn = slices.DeleteFunc(drawn, func(m mutant) bool { return !strings.Contains(m.String(), o.match) })
		verdicts = append(verdicts, tryAll(b, drawn, o.workers)...)
	}
	if o.list {
		return nil
	}
	if o.asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(verdicts); err != nil {
			return err
		}
	} else {
		report(os.Stdout, verdicts, possible)
	}
	return judge(verdicts)
}

func tryAll(b *built, drawn []mutant, workers int) []Verdict {
	verdicts := make([]Verdict, len(drawn))
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := make(chan int)
	for range workers {
		wg.Go(func() {
			for i := range next {
				v := b.try(drawn[i])
				verdicts[i] = v
				fate := "SURVIVED"
				if v.Killed {
					fate = "killed by " + v.By
				}
				mu.Lock()
				fmt.Fprintf(os.Stderr, "%-8s %s:%d: %s: %s (%.0f s)\n", v.Place, v.File, v.Line, v.Change, fate, v.Seconds)
				mu.Unlock()
			}
		})
	}
	for i := range drawn {
		next <- i
	}
	close(next)
	wg.Wait()
	return verdicts
}

// judge says whether the tests are good enough: of the mutants that can be told from the code, they must kill so many.
func judge(verdicts []Verdict) error {
	killed, unexplained := 0, 0
	for _, v := range verdicts {
		if v.Killed {
			killed++
		} else if explanation(v) == "" {
			unexplained++
		}
	}
	if real := killed + unexplained; float64(killed) < least*float64(real) {
		return fmt.Errorf("%d of %d mutants were killed that can be told from the code, want %.0f %%", killed, real, 100*least)
	}
	if unexplained > 0 {
		return fmt.Errorf("%d survivors are not explained", unexplained)
	}
	return nil
}

// report prints the table of docs/reliability.md.
func report(w io.Writer, verdicts []Verdict, possible map[string]int) {
	fmt.Fprint(w, "| place | possible | tried | killed | survived |\n|---|---|---|---|---|\n")
	row := func(name string, possible int, in func(Verdict) bool) {
		tried, killed := 0, 0
		for _, v := range verdicts {
			if in(v) {
				tried++
				if v.Killed {
					killed++
				}
			}
		}
		if tried > 0 {
			fmt.Fprintf(w, "| %s | %d | %d | %d (%.0f %%) | %d |\n", name, possible, tried, killed, 100*float64(killed)/float64(tried), tried-killed)
		}
	}
	sum := 0
	for _, p := range places {
		sum += possible[p.name]
		row(p.name, possible[p.name], func(v Verdict) bool { return v.Place == p.name })
	}
	row("all", sum, func(Verdict) bool { return true })
	fmt.Fprint(w, "\n")
	for _, v := range verdicts {
		if v.Killed {
			continue
		}
		why := explanation(v)
		if why == "" {
			why = "NOT EXPLAINED"
		}
		fmt.Fprintf(w, "- `%s`: %s. %s\n", v.File, strings.ReplaceAll(v.Change, "\n", " "), why)
	}
}
