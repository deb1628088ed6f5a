package linear

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	neturl "net/url"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/driver/memory"
	_ "github.com/tokenthrottle/throttle/driver/postgres"
	_ "github.com/tokenthrottle/throttle/driver/redis"
	"github.com/tokenthrottle/throttle/internal/testservice"
	"github.com/tokenthrottle/throttle/internal/verify/faultproxy"
)

func open(t *testing.T, url string) driver.Driver {
	t.Helper()
	d, err := driver.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func times(d driver.Driver, n int) []driver.Driver {
	all := make([]driver.Driver, n)
	for i := range all {
		all[i] = d
	}
	return all
}

const callers = 6

// rounds is how often each fault is tried; docs/reliability.md says with how many its figures were got.
var rounds = flag.Int("linear.rounds", 1, "how many histories to record under each fault")

// manyMore is how many rounds more there may be until a call has an unknown outcome: without one a test shows too little.
const manyMore = 40

// tally counts what was recorded.
type tally struct{ Histories, Calls, Unknown, Failed int }

func (t *tally) add(history []porcupine.Operation) {
	t.Histories++
	t.Calls += len(history)
	for _, o := range history {
		if o.Output.(outcome).unknown {
			t.Unknown++
		}
		if o.Output.(outcome).failed {
			t.Failed++
		}
	}
}

func (t tally) String() string {
	return fmt.Sprintf("%d histories of %d calls, of which %d have an unknown outcome and %d failed", t.Histories, t.Calls, t.Unknown, t.Failed)
}

func TestDriversAreLinearizable(t *testing.T) {
	for name, instances := range map[string]func(t *testing.T) []driver.Driver{
		"memory": func(t *testing.T) []driver.Driver { return times(memory.New(), callers) },
		"bolt": func(t *testing.T) []driver.Driver {
			return times(open(t, "bolt://"+filepath.Join(t.TempDir(), "limits.db")), callers)
		},
		"redis": func(t *testing.T) []driver.Driver {
			url := testservice.Redis(t)
			a, b := open(t, url), open(t, url)
			return append(times(a, callers/2), times(b, callers/2)...)
		},
		"postgres": func(t *testing.T) []driver.Driver {
			url := testservice.Postgres(t)
			url += "&migrate=true&schema=" + testservice.Schema(t, url)
			a, b := open(t, url), open(t, url)
			return append(times(a, callers/2), times(b, callers/2)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := instances(t)
			rounds, seed, calls := 10, rand.Uint64(), 0
			if testing.Short() {
				rounds = 3
			}
			for round := range rounds {
				key := fmt.Sprintf("%s %d %d", t.Name(), time.Now().UnixNano(), round)
				history := History(t.Context(), all, key, 15, seed+uint64(round))
				calls += len(history)
				if got := Check(history, 20*time.Second); got != porcupine.Ok {
					t.Fatalf("round %d of seed %d: %v: no order of the %d calls explains what they saw", round, seed, got, len(history))
				}
			}
			t.Logf("%d histories of %d calls", rounds, calls)
		})
	}
}

// While connections break, outcomes can be unknown: such a call may have happened, once, or not.
func TestDriversAreLinearizableWhileConnectionsBreak(t *testing.T) {
	faults := map[string]struct {
		fault   faultproxy.Fault
		places  int
		on, off time.Duration
	}{
		"requests lost": {faultproxy.CutBefore, 30, 20 * time.Millisecond, 60 * time.Millisecond},
		"answers lost":  {faultproxy.CutAfter, 50, 20 * time.Millisecond, 60 * time.Millisecond},
		"half answers":  {faultproxy.Half, 50, 20 * time.Millisecond, 60 * time.Millisecond},
		"black hole":    {faultproxy.Hold, 0, 2 * time.Second, 200 * time.Millisecond}, // longer than any attempt
	}
	for name, store := range map[string]struct {
		url      func(t *testing.T) string
		protocol faultproxy.Protocol
	}{
		"redis": {func(t *testing.T) string { return testservice.Redis(t) + "?timeout=400ms" }, faultproxy.Redis},
		"postgres": {func(t *testing.T) string {
			url := testservice.Postgres(t)
			return url + "&timeout=400ms&migrate=true&schema=" + testservice.Schema(t, url)
		}, faultproxy.Postgres},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := neturl.Parse(store.url(t))
			if err != nil {
				t.Fatal(err)
			}
			p, err := faultproxy.New(u.Host, store.protocol)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Close)
			u.Host = p.Addr
			a, b := open(t, u.String()), open(t, u.String())
			all := append(times(a, callers/2), times(b, callers/2)...)
			seed := rand.Uint64()
			sum := tally{}
			for round := 0; round < *rounds || sum.Unknown == 0 && round < *rounds+manyMore; round++ {
				for name, f := range faults {
					if round >= *rounds && name != "black hole" {
						continue // the others leave no doubt
					}
					key := fmt.Sprintf("%s %s %d %d", t.Name(), name, time.Now().UnixNano(), round)
					stop := make(chan struct{})
					var breaking sync.WaitGroup
					breaking.Go(func() {
						for {
							if f.places > 0 {
								p.SetEach(f.fault, f.places)
							} else {
								p.Set(f.fault, rand.IntN(60), 0) // connections are made by then, and calls under way
							}
							time.Sleep(f.on) // how long it is broken, and how long whole
							p.Set(faultproxy.None, 0, 0)
							select {
							case <-stop:
								return
							case <-time.After(f.off):
							}
						}
					})
					history := History(t.Context(), all, key, 12, seed+uint64(round))
					close(stop)
					breaking.Wait()
					sum.add(history)
					if got := CheckRepeated(history, 20*time.Second); got != porcupine.Ok {
						t.Fatalf("%s, round %d of seed %d: %v: no order of the %d calls explains what they saw", name, round, seed, got, len(history))
					}
				}
			}
			t.Log(sum)
			if p.Hits() == 0 {
				t.Error("no connection broke")
			}
			if sum.Unknown == 0 {
				t.Error("no call had an unknown outcome, so nothing is shown of those that have")
			}
		})
	}
}

// torn reads, lets others in, and writes: what a driver without a transaction does.
type torn struct {
	mu     sync.Mutex
	states map[string]*bucket.State
}

func (d *torn) Apply(_ context.Context, batch []driver.Request) ([]driver.Response, error) {
	responses := make([]driver.Response, len(batch))
	for i, r := range batch {
		d.mu.Lock()
		state := new(bucket.State)
		if s := d.states[r.Key]; s != nil {
			state = s.Clone()
		}
		d.mu.Unlock()
		for range 10 {
			runtime.Gosched()
		}
		responses[i] = driver.Response{Now: bucket.At(time.Now()), Results: make([]bucket.Result, len(r.Ops))}
		state.Apply(responses[i].Now, &bucket.Request{Limits: r.Limits, Ops: r.Ops}, responses[i].Results)
		d.mu.Lock()
		d.states[r.Key] = state
		d.mu.Unlock()
	}
	return responses, nil
}

func (d *torn) Close() error { return nil }

// twice loses answers and then does it again, as a client does that retries blindly.
type twice struct {
	*memory.Driver
	mu  sync.Mutex
	rng *rand.Rand
}

func (d *twice) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	d.mu.Lock()
	again := d.rng.IntN(5) == 0
	d.mu.Unlock()
	if again {
		if _, err := d.Driver.Apply(ctx, batch); err != nil {
			return nil, err
		}
	}
	return d.Driver.Apply(ctx, batch)
}

// certain says that nothing was done when it was.
type certain struct {
	*memory.Driver
	mu  sync.Mutex
	rng *rand.Rand
}

func (d *certain) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	responses, err := d.Driver.Apply(ctx, batch)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil && d.rng.IntN(5) == 0 {
		return nil, &driver.StoreError{Driver: "certain", Doing: "apply", Err: context.DeadlineExceeded}
	}
	return responses, err
}

// aFew is within how many histories a broken driver must be caught; the first is enough, as a rule.
const aFew = 10

func TestBrokenDriversAreCaught(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name, d := range map[string]driver.Driver{
		"torn":    &torn{states: map[string]*bucket.State{}},
		"twice":   &twice{Driver: memory.New(), rng: rng},
		"certain": &certain{Driver: memory.New(), rng: rng},
	} {
		t.Run(name, func(t *testing.T) {
			caught, caughtRepeated := false, false
			for round := range aFew {
				history := History(t.Context(), times(d, callers), fmt.Sprint(round), 15, uint64(round))
				caught = caught || Check(history, 20*time.Second) == porcupine.Illegal
				caughtRepeated = caughtRepeated || CheckRepeated(history, 20*time.Second) == porcupine.Illegal
				if caught && caughtRepeated {
					t.Logf("caught by history %d", round+1)
					return
				}
			}
			t.Errorf("in a few histories, caught: %t; caught where repeats are expected: %t; want both", caught, caughtRepeated)
		})
	}
}

// A repeat tries what was refused anew, so a request of two can take two instants. That, and no more, is
// allowed for.
func TestARepeatMayTakeTwoInstants(t *testing.T) {
	acquire := func(cost float64) bucket.Op { return bucket.Op{Kind: bucket.Acquire, Cost: []float64{0, cost}} }
	granted, refused := bucket.Granted, bucket.Refused
	type call struct {
		ops        []bucket.Op
		statuses   []bucket.Status
		start, end int64
	}
	giveBack := call{[]bucket.Op{{Kind: bucket.Adjust, Cost: []float64{0, 500}}}, []bucket.Status{bucket.Done}, 30, 40}
	for name, tt := range map[string]struct {
		calls         []call
		once, repeats porcupine.CheckResult
	}{
		"in one instant": {[]call{
			{[]bucket.Op{acquire(600), acquire(400)}, []bucket.Status{granted, granted}, 0, 10},
		}, porcupine.Ok, porcupine.Ok},
		// 300 of the 400 that are left are taken, as who asks for 101 sees; the 700 only once 600 are back.
		"in two": {[]call{
			{[]bucket.Op{acquire(600)}, []bucket.Status{granted}, 0, 10},
			{[]bucket.Op{acquire(700), acquire(300)}, []bucket.Status{granted, granted}, 15, 50},
			{[]bucket.Op{acquire(101)}, []bucket.Status{refused}, 20, 25},
			{[]bucket.Op{{Kind: bucket.Adjust, Cost: []float64{0, 600}}}, []bucket.Status{bucket.Done}, 30, 40},
		}, porcupine.Illegal, porcupine.Ok},
		"more than there is": {[]call{
			{[]bucket.Op{acquire(600)}, []bucket.Status{granted}, 0, 10},
			{[]bucket.Op{acquire(700), acquire(300)}, []bucket.Status{granted, granted}, 15, 50},
			giveBack,
		}, porcupine.Illegal, porcupine.Illegal},
		"in two, after it ended": {[]call{
			{[]bucket.Op{acquire(600)}, []bucket.Status{granted}, 0, 10},
			{[]bucket.Op{acquire(600), acquire(300)}, []bucket.Status{granted, granted}, 15, 25},
			giveBack,
		}, porcupine.Illegal, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, c := range tt.calls {
				history = append(history, porcupine.Operation{ClientId: i, Input: request{id: i, ops: c.ops},
					Output: outcome{statuses: c.statuses}, Call: c.start, Return: c.end})
			}
			if got := Check(history, time.Minute); got != tt.once {
				t.Errorf("where nothing is repeated: %v, want %v", got, tt.once)
			}
			if got := CheckRepeated(history, time.Minute); got != tt.repeats {
				t.Errorf("where requests are repeated: %v, want %v", got, tt.repeats)
			}
		})
	}
}
