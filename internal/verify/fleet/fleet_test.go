package fleet

import (
	"flag"
	"fmt"
	neturl "net/url"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

// long runs the scenarios for longer, and those that need many processes: `make fleet`.
var long = flag.Bool("fleet.long", false, "run the long scenarios: minutes, not seconds")

func TestMain(m *testing.M) {
	Main()
	testservice.Main(m)
}

// stores are what processes can share.
var stores = map[string]func(testing.TB) string{
	"redis": testservice.Redis,
	"postgres": func(t testing.TB) string {
		url := testservice.Postgres(t)
		u, err := neturl.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("migrate", "true") // every process does, all at once
		q.Set("notify", "true")
		q.Set("schema", testservice.Schema(t, url))
		u.RawQuery = q.Encode()
		d, err := driver.Open(t.Context(), u.String())
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		return u.String()
	},
}

// onStores runs a scenario on each store, on all at once but where the figures are what matters.
func onStores(t *testing.T, test func(t *testing.T, store string)) {
	if testing.Short() && t.Name() != "TestProcessesKilledAtRandom" {
		t.Skip("a short run has one scenario alone, where processes are killed; the others measure waits, for which the rest of a run leaves no time")
	}
	for name, url := range stores {
		t.Run(name, func(t *testing.T) {
			if !*long {
				t.Parallel()
			}
			test(t, url(t))
		})
	}
}

// The key that all share: 20,000 tokens a second, in the same proportions as a real one of 1.2 million a minute.
var tokens = throttle.PerSecond("tokens", 20_000)

// warm is when the first burst is gone and everybody stands in line.
const warm = 2 * time.Second

// batch is a process that always wants more.
func batch(i int, store, family string, d time.Duration) Job {
	return Job{
		Name: fmt.Sprint("batch", i), Store: store, Family: family, Quotas: []throttle.Quota{tokens},
		Callers: 16, Min: 800, Max: 1600, UsedMin: 0.05, UsedMax: 0.5, Latency: 50 * time.Millisecond, For: d, Warm: warm, Seed: uint64(i),
	}
}

// production needs a tenth of the key: 2,000 tokens a second, in calls that use some 300.
func production(store, family string, d time.Duration) Job {
	return Job{
		Name: "production", Flow: "production", Weight: 1, Store: store, Family: family, Quotas: []throttle.Quota{tokens},
		Callers: 4, Min: 800, Max: 1200, UsedMin: 0.1, UsedMax: 0.5, Latency: 50 * time.Millisecond, Every: 550 * time.Millisecond,
		For: d, Warm: warm, Seed: 99,
	}
}

func family(t *testing.T) string { return fmt.Sprintf("%s %d", t.Name(), time.Now().UnixNano()) }

func duration(short, lengthy time.Duration) time.Duration {
	if *long {
		return lengthy
	}
	return short
}

// judge checks what holds for every fleet, and logs the figures.
func judge(t *testing.T, reports []*Report, d time.Duration) (polls, ideal float64) {
	t.Helper()
	sum := Report{}
	for _, r := range reports {
		sum.Grants, sum.Asks, sum.Polls, sum.Trips, sum.Used = sum.Grants+r.Grants, sum.Asks+r.Asks, sum.Polls+r.Polls, sum.Trips+r.Trips, sum.Used+r.Used
		for _, e := range r.Errors {
			t.Errorf("%s: %s", r.Name, e)
		}
		if r.Grants == 0 {
			t.Errorf("%s was granted nothing", r.Name)
		}
	}
	if over := Overdraft(tokens, reports); over > 1e-3 {
		t.Errorf("%.3f tokens were taken beyond the bound", over)
	}
	all := 0.0
	for _, r := range reports {
		for _, e := range r.Events {
			if e.Debit > 0 {
				all++
			}
		}
	}
	polls = float64(sum.Polls) / all
	ideal = sum.Used / (tokens.Limit * (d - warm).Seconds())
	t.Logf("%.0f grants; %.2f polls, %.2f acquires and %.2f round trips a grant; share of the ideal %.3f",
		all, polls, float64(sum.Asks)/all, float64(sum.Trips)/all, ideal)
	return polls, ideal
}

func shares(t *testing.T, reports []*Report, tolerance float64) {
	t.Helper()
	total := 0.0
	for _, r := range reports {
		total += r.Used
	}
	for _, r := range reports {
		part := r.Used / total * float64(len(reports))
		t.Logf("%s: %.3f of an equal share, %d grants, waits %v (median), %v (99th)", r.Name, part, r.Grants, Quantile(0.5, r), Quantile(0.99, r))
		if part < 1-tolerance || part > 1+tolerance {
			t.Errorf("%s got %.3f of an equal share by tokens, want within %.0f %%", r.Name, part, tolerance*100)
		}
	}
}

// Seven batches saturate the key, one of them with requests of half a burst; production needs a tenth.
func TestEqualFlowsAndProduction(t *testing.T) {
	onStores(t, func(t *testing.T, store string) {
		d := duration(8*time.Second, time.Minute)
		name := family(t)
		var jobs []Job
		for i := range 7 {
			jobs = append(jobs, batch(i, store, name, d))
		}
		jobs[6].Name, jobs[6].Min, jobs[6].Max = "large", 8_000, 10_000
		jobs = append(jobs, production(store, name, d))
		reports, err := Run(jobs)
		if err != nil {
			t.Fatal(err)
		}
		polls, ideal := judge(t, reports, d)
		// A short run is a noisy sample, in which a single request of the large ones is a sixth of their share: the shares
		// settle over the minute.
		tolerance := 0.40
		if *long {
			tolerance = 0.10
		}
		shares(t, reports[:7], tolerance)
		prod := reports[7]
		t.Logf("production: %d grants, waits %v (median), %v (99th)", prod.Grants, Quantile(0.5, prod), Quantile(0.99, prod))
		if wait := Quantile(0.5, prod); wait > time.Second {
			t.Errorf("production waits %v at the median, want under 1 s", wait)
		}
		if polls > 2 {
			t.Errorf("%.2f polls a grant, want 2 at most", polls)
		}
		if least := map[bool]float64{false: 0.85, true: 0.97}[*long]; ideal < least {
			t.Errorf("share of the ideal %.3f, want %.2f", ideal, least)
		}
	})
}

// A request of the full burst is served in bounded time while others saturate the key.
func TestFullBurstRequestIsServed(t *testing.T) {
	onStores(t, func(t *testing.T, store string) {
		d := duration(10*time.Second, time.Minute)
		name := family(t)
		var jobs []Job
		for i := range 3 {
			jobs = append(jobs, batch(i, store, name, d))
		}
		jobs[2].Name, jobs[2].Callers, jobs[2].Min, jobs[2].Max = "full", 1, 20_000, 20_000
		reports, err := Run(jobs)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, reports, d)
		t.Logf("full: %d grants, the longest wait %v", reports[2].Grants, reports[2].MaxWait)
		if reports[2].MaxWait > 6*time.Second {
			t.Errorf("a request of the full burst waited %v", reports[2].MaxWait)
		}
	})
}

// A process that dies in line delays the rest by one lease at most.
func TestDeathInLine(t *testing.T) {
	onStores(t, func(t *testing.T, store string) {
		d := 8 * time.Second
		name := family(t)
		jobs := []Job{batch(0, store, name, d), batch(1, store, name, d), batch(2, store, name, d)}
		jobs[0].Min, jobs[0].Max = 18_000, 20_000 // who dies stands in line nearly all the time, and protects a lot
		var processes []*Process
		for _, job := range jobs {
			p, err := Start(job)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Kill()
			processes = append(processes, p)
		}
		for _, p := range processes {
			p.Go()
		}
		time.AfterFunc(2*time.Second, processes[0].Kill)
		var reports []*Report
		for _, p := range processes {
			r, err := p.Wait()
			if err != nil {
				t.Fatal(err)
			}
			reports = append(reports, r)
		}
		for _, r := range reports[1:] {
			t.Logf("%s: %d grants, the longest wait %v", r.Name, r.Grants, r.MaxWait)
			// The lease is the poll interval (1 s at most) and the grace of 2 s; a turn behind it comes on top.
			if r.MaxWait > 4500*time.Millisecond {
				t.Errorf("%s waited %v beside a process that died", r.Name, r.MaxWait)
			}
		}
	})
}

// Forty batch processes in one flow, and production in its own.
func TestFortyProcessesInOneFlow(t *testing.T) {
	n, d := 12, 8*time.Second
	if *long {
		n, d = 40, time.Minute
	}
	onStores(t, func(t *testing.T, store string) {
		name := family(t)
		var jobs []Job
		for i := range n {
			job := batch(i, store, name, d)
			job.Flow, job.Weight, job.Callers = "batch", 1, 4
			jobs = append(jobs, job)
		}
		jobs = append(jobs, production(store, name, d))
		reports, err := Run(jobs)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, reports, d)
		prod := reports[n]
		t.Logf("production beside %d processes: %d grants, waits %v (median), %v (99th)", n, prod.Grants, Quantile(0.5, prod), Quantile(0.99, prod))
		if wait := Quantile(0.5, prod); wait > time.Second {
			t.Errorf("production waits %v at the median, want under 1 s", wait)
		}
	})
}

// A credit in one process reaches a waiter in another: promptly where the driver notifies, else within the poll interval.
func TestCreditReachesAnotherProcess(t *testing.T) {
	onStores(t, func(t *testing.T, store string) {
		name := family(t)
		hold := batch(0, store, name, 5*time.Second)
		// Each holds the whole burst for a moment and gives nearly all of it back; refill alone would take a second.
		hold.Warm, hold.Callers, hold.Min, hold.Max, hold.UsedMin, hold.UsedMax, hold.Latency = 0, 1, 20_000, 20_000, 0.001, 0.002, 20*time.Millisecond
		other := hold
		other.Name, other.Seed = "other", 1
		reports, err := Run([]Job{hold, other})
		if err != nil {
			t.Fatal(err)
		}
		wait := Quantile(0.5, reports...)
		t.Logf("%d and %d grants, waits %v (median), %v (99th)", reports[0].Grants, reports[1].Grants, wait, Quantile(0.99, reports...))
		// The other's call of 20 ms, what little it used (20 to 40 tokens: 2 ms), and the way of the credit.
		if wait > 200*time.Millisecond {
			t.Errorf("a credit took %v to reach the other process", wait)
		}
	})
}
