package fleet

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/internal/provider"
)

// mostStarved is how long a process may live without being granted a call. Its fair share is several a second; what
// delays it is who died in line before it, for a lease: 3 s at most (see TestDeathInLine).
const mostStarved = 4500 * time.Millisecond

// lifetime is how long a process lives: most die soon, some live long enough to starve.
func lifetime(rng *rand.Rand, long bool) time.Duration {
	if long || rng.IntN(4) == 0 {
		return 8*time.Second + time.Duration(rng.Float64()*4*float64(time.Second))
	}
	return 500*time.Millisecond + time.Duration(rng.Float64()*4*float64(time.Second))
}

// Eight processes call a provider that counts for itself, and are killed and started again at random. Its count must
// never pass its limit, whatever the dead have left behind; and nobody who lives starves.
func TestProcessesKilledAtRandom(t *testing.T) {
	onStores(t, func(t *testing.T, store string) {
		d := duration(10*time.Second, 5*time.Minute)
		api, err := provider.Start(provider.Config{
			Default: provider.Limits{TokensPerMinute: 20_000}, Minute: time.Second, // a minute of a second
			Latency: provider.Latency{Base: 30 * time.Millisecond, Jitter: 0.5},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer api.Close()
		name := family(t)
		job := func(i int, left time.Duration) Job {
			j := batch(i, store, name, left)
			// A request takes a moment to the provider, whose bucket is behind by as much: less than 50 ms where processes
			// have the machine to themselves, up to 250 ms where other tests run beside them.
			burst := 0.75
			if *long {
				burst = 0.95
			}
			j.Quotas = []throttle.Quota{tokens.WithBurst(burst * tokens.Limit)}
			j.Callers, j.Provider, j.Warm = 4, api.URL, 0
			return j
		}
		var mu sync.Mutex
		killed, answered, restarts, underWay := 0, 0, 0, 0
		var all []Life
		var wg sync.WaitGroup
		rng := rand.New(rand.NewPCG(11, 13))
		deadline := time.Now().Add(d)
		for i := range 8 {
			lives := make([]time.Duration, 0, 64)
			for total := time.Duration(0); total < d; {
				life := lifetime(rng, i < 2 && total == 0)
				lives = append(lives, life)
				total += life
			}
			wg.Go(func() {
				for n, life := range lives {
					left := time.Until(deadline)
					if left < 200*time.Millisecond {
						return
					}
					p, err := Start(job(100*i+n, left))
					if err != nil {
						t.Error(err)
						return
					}
					p.Go()
					var timer *time.Timer
					if life < left {
						timer = time.AfterFunc(life, p.Kill)
					}
					report, err := p.Wait()
					if timer != nil {
						timer.Stop()
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					answered += p.Answered
					all = append(all, p.Life)
					restarts++
					open := len(p.Life.Granted) - p.Answered
					if !report.Finished {
						killed++
						underWay += open
					} else if open != 0 {
						t.Errorf("%s finished with %d calls unanswered", p.Job.Name, open)
					}
					for _, e := range report.Errors {
						t.Errorf("%s: %s", p.Job.Name, e)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		stats := api.Stats()["m"]
		t.Logf("%d processes, %d of them killed; %d calls accepted, %d answered, %d refused; %s",
			restarts, killed, stats.Accepted, answered, stats.Rejected(), fmt.Sprintf("%+v", stats.Windows["tokens/minute"]))
		if stats.Rejected() > 0 {
			t.Errorf("the provider refused %d calls", stats.Rejected())
		}
		if v := stats.Windows["tokens/minute"].Violations; v > 0 {
			t.Errorf("the provider counts %d violations", v)
		}
		missing := int(stats.Accepted) - answered
		if missing < 0 || missing > underWay {
			t.Errorf("%d calls accepted, %d answered: %d are unaccounted for, and %d were under way when their callers were killed",
				stats.Accepted, answered, missing, underWay)
		}
		starved, judged := Starved(all, mostStarved)
		longest := time.Duration(0)
		for i := range all {
			longest = max(longest, all[i].Longest())
		}
		t.Logf("%d calls died with their callers, of %d that were under way; the longest without a call was %v, in %d lives of more than %v",
			missing, underWay, longest, judged, mostStarved)
		for _, s := range starved {
			t.Error(s)
		}
		if judged == 0 {
			t.Errorf("nobody lived for %v", mostStarved)
		}
		if killed == 0 {
			t.Error("nobody was killed")
		}
	})
}
