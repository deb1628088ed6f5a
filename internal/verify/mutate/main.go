// Mutate breaks the code on purpose, one small change at a time, and sees whether the tests notice: a change that
// survives them is a rule that nobody checks. It changes nothing on disk. All mutants of a place are built at once, as one
// program that is told by its environment which of them to be, so that trying one costs no build.
//
//	go run ./internal/verify/mutate [-n 160] [-seed 1] [-only bucket] [-j 2] [-json]
//
// Code that is in no place (see places.go) isn't broken. Which mutants are tried is drawn at random from all that the
// operators give (see go.go and lua.go), -n in all, a part from each place. For one that explained.go shows to do the same as the code, which no test can tell, another is drawn; it is tried
// all the same, since the explanation may be wrong. A test that fails is run once more, alone, and then on the unbroken
// code: one that passes there, or fails here, has noticed nothing. The command fails when fewer than 95 % of those that can be
// told from the code are killed, when one survives that isn't explained, and when one is killed that was said to be the same.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
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
	n := flag.Int("n", 160, "how many mutants")
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
	shares := sharesOf(o.n)
	for i, p := range places {
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
		drawn := draw(b.mutants, p.pkg, shares[i])
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

// draw takes the first mutants, so many of them as can be told from the code.
func draw(mutants []mutant, pkg string, n int) []mutant {
	for i, m := range mutants {
		if !explained[key(m.where(pkg), m.change)].same {
			n--
		}
		if n < 0 {
			return mutants[:i]
		}
	}
	return mutants
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

// count is what became of some mutants.
type count struct {
	tried, killed int // of those that can be told from the code
	same          int // that were drawn besides, and do the same as the code
}

func countOf(verdicts []Verdict, in func(Verdict) bool) (c count) {
	for _, v := range verdicts {
		switch {
		case !in(v):
		case !v.Killed && explanation(v).same:
			c.same++
		default:
			c.tried++
			if v.Killed {
				c.killed++
			}
		}
	}
	return c
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(1, whole)) }

func all(Verdict) bool { return true }

// judge says whether the tests are good enough: of the mutants that can be told from the code, they must kill so many.
func judge(verdicts []Verdict) error {
	var errs []error
	c := countOf(verdicts, all)
	if float64(c.killed) < least*float64(c.tried) {
		errs = append(errs, fmt.Errorf("%d of %d mutants were killed that can be told from the code, want %.0f %%", c.killed, c.tried, 100*least))
	}
	for _, v := range verdicts {
		switch e := explanation(v); {
		case v.Killed && e.same:
			errs = append(errs, fmt.Errorf("%s: %s: said to do the same as the code, but %s can tell them", v.Where, v.Change, v.By))
		case !v.Killed && e.why == "":
			errs = append(errs, fmt.Errorf("%s: %s: it survived, and nothing explains it", v.Where, v.Change))
		}
	}
	return errors.Join(errs...)
}

// report prints the table of docs/reliability.md.
func report(w io.Writer, verdicts []Verdict, possible map[string]int) {
	fmt.Fprint(w, "| place | possible | tried | killed | survived | drawn besides, the same as the code |\n|---|---|---|---|---|---|\n")
	row := func(name string, possible int, in func(Verdict) bool) {
		if c := countOf(verdicts, in); c.tried+c.same > 0 {
			fmt.Fprintf(w, "| %s | %d | %d | %d (%.0f %%) | %d | %d |\n", name, possible, c.tried, c.killed, percent(c.killed, c.tried), c.tried-c.killed, c.same)
		}
	}
	sum := 0
	for _, p := range places {
		sum += possible[p.name]
		row(p.name, possible[p.name], func(v Verdict) bool { return v.Place == p.name })
	}
	row("all", sum, all)
	c := countOf(verdicts, all)
	fmt.Fprintf(w, "\n%d of the %d that can be told from the code were killed (%.1f %%), of all %d that were drawn %.1f %%.\n",
		c.killed, c.tried, percent(c.killed, c.tried), c.tried+c.same, percent(c.killed, c.tried+c.same))
	for _, same := range []bool{true, false} {
		fmt.Fprintf(w, "\n%s:\n\n", map[bool]string{true: "The same as the code", false: "Survivors"}[same])
		for _, v := range verdicts {
			if e := explanation(v); !v.Killed && e.same == same {
				fmt.Fprintf(w, "- `%s`: %s. %s\n", v.Where, strings.ReplaceAll(v.Change, "\n", " "), cmp.Or(e.why, "NOT EXPLAINED"))
			}
		}
	}
}
