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
		killed, answered, restarts, lost := 0, 0, 0, 0
		var wg sync.WaitGroup
		rng := rand.New(rand.NewPCG(11, 13))
		deadline := time.Now().Add(d)
		for i := range 8 {
			lives := make([]time.Duration, 0, 64)
			for total := time.Duration(0); total < d; {
				life := 500*time.Millisecond + time.Duration(rng.Float64()*4*float64(time.Second))
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
					answered += p.Calls
					restarts++
					if !report.Finished {
						killed++
						lost += p.Job.Callers
					} else if left > 5*time.Second && report.Grants == 0 {
						t.Errorf("%s lived for %v and was granted nothing", p.Job.Name, left)
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
		if missing := int(stats.Accepted) - answered; missing < 0 || missing > lost {
			t.Errorf("%d calls accepted, %d answered: %d are unaccounted for, and %d at most can have died with their callers",
				stats.Accepted, answered, missing, lost)
		}
		if killed == 0 {
			t.Error("nobody was killed")
		}
	})
}
