package bucket_test

import (
	"fmt"
	"testing"

	"github.com/tokenthrottle/throttle/bucket"
)

// The promises of the line, in virtual time: a key of a million tokens a minute that is asked for far more than it has,
// and calls that give back 50 to 95 % of what they reserved, one to ten seconds later.

const keyLimit = 1e6

func keyLimits(t *testing.T) *bucket.Limits {
	return mustLimits(t, bucket.Quota{Resource: "tokens", Limit: keyLimit, Per: minute})
}

// worker is a process of a flow whose calls reserve between least and most tokens.
func (f *fleet) worker(flow string, weight, least, most float64) process {
	return process{
		flow: flow, weight: weight,
		cost:    func() []float64 { return []float64{float64(int(f.between(least, most)))} },
		uses:    func(reserved []float64) []float64 { return []float64{float64(int(reserved[0] * f.between(0.05, 0.5)))} },
		latency: func() bucket.Micros { return second + bucket.Micros(f.IntN(int(9*second))) },
	}
}

// every makes calls come at random, so many a second.
func (f *fleet) every(p process, rate float64) process {
	p.gap = func() bucket.Micros { return 1 + bucket.Micros(f.ExpFloat64()*float64(second)/rate) }
	return p
}

// measured is what happened in a span, the fleet warmed up before.
type measured struct {
	share         map[string]float64 // of the tokens that were used, by flow
	waits         map[string][]bucket.Micros
	ofIdeal       float64 // tokens used, of those that the limit allows
	pollsPerGrant float64
}

func (f *fleet) measure(warm, span bucket.Micros) measured {
	f.run(warm)
	f.polls = 0
	for _, p := range f.processes {
		p.consumed[0], p.grants, p.waits = 0, 0, nil
	}
	f.run(span)
	m := measured{share: map[string]float64{}, waits: map[string][]bucket.Micros{}}
	total, grants := 0.0, 0
	for _, p := range f.processes {
		total, grants = total+p.consumed[0], grants+p.grants
	}
	for _, p := range f.processes {
		m.share[p.flow] += p.consumed[0] / total
		m.waits[p.flow] = append(m.waits[p.flow], p.waits...)
	}
	m.ofIdeal, m.pollsPerGrant = total/(keyLimit*float64(span)/float64(minute)), float64(f.polls)/float64(grants)
	return m
}

func (m measured) String() string {
	return fmt.Sprintf("share of the ideal %.3f, %.2f polls a grant", m.ofIdeal, m.pollsPerGrant)
}

// within checks that a flow got its part. The promise is 10 %; half of that leaves room to see it slip.
func (m measured) within(t *testing.T, flow string, part float64) {
	t.Helper()
	if got := m.share[flow]; got < 0.95*part || got > 1.05*part {
		t.Errorf("flow %s got %.3f of the tokens, want %.3f to 5 %%", flow, got, part)
	}
}

// seeds runs a simulation a few times over: no promise may hang on luck.
func seeds(t *testing.T, run func(t *testing.T, seed uint64)) {
	for seed := range uint64(simulations) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { run(t, seed) })
	}
}

func TestProductionBesideFortyBatchProcesses(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		f := newFleet(seed, keyLimits(t))
		for range 40 {
			f.add(f.worker("batch", 1, 2000, 20000))
		}
		f.add(f.every(f.worker("production", 1, 2000, 20000), keyLimit/60/10/(11000*0.275))) // needs 10 %
		m := f.measure(5*minute, 20*minute)
		p50, p99 := quantile(0.5, m.waits["production"]), quantile(0.99, m.waits["production"])
		t.Logf("production waits %v (median), %v (99th); %v", p50.Duration(), p99.Duration(), m)
		if p50 >= second {
			t.Errorf("production waits %v at the median, want under a second", p50.Duration())
		}
		if p99 >= 15*second {
			t.Errorf("production waits %v at the 99th percentile", p99.Duration())
		}
		if m.share["production"] < 0.08 {
			t.Errorf("production got %.3f of the key: it needs 0.1", m.share["production"])
		}
		if m.ofIdeal < 0.97 {
			t.Errorf("share of the ideal %.3f, want 0.97", m.ofIdeal)
		}
	})
}

func TestEqualFlowsGetEqualTokens(t *testing.T) {
	for _, c := range []struct {
		name      string
		largest   []float64 // request of each flow
		processes int       // of each flow
	}{
		{"one to a hundred", []float64{3000, 30_000, 300_000}, 1},
		{"one to a hundred, three processes each", []float64{3000, 30_000, 300_000}, 3},
		{"one of half a burst", []float64{500_000, 20_000, 20_000, 20_000, 20_000, 20_000, 20_000}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			seeds(t, func(t *testing.T, seed uint64) {
				f := newFleet(seed, keyLimits(t))
				for i, largest := range c.largest {
					for range c.processes {
						f.add(f.worker(fmt.Sprint(i), 1, largest/10, largest))
					}
				}
				m := f.measure(5*minute, 60*minute)
				t.Logf("shares %.3v; %v", m.share, m)
				for flow := range m.share {
					m.within(t, flow, 1/float64(len(c.largest)))
				}
				if m.ofIdeal < 0.97 {
					t.Errorf("share of the ideal %.3f, want 0.97", m.ofIdeal)
				}
			})
		})
	}
}

func TestWeightsAreHonoured(t *testing.T) {
	for _, processes := range []int{1, 3} {
		t.Run(fmt.Sprint("processes=", processes), func(t *testing.T) {
			seeds(t, func(t *testing.T, seed uint64) {
				f := newFleet(seed, keyLimits(t))
				for range processes {
					f.add(f.worker("a", 1, 2000, 20000))
					f.add(f.worker("b", 2, 2000, 20000))
					f.add(f.worker("c", 1, 2000, 20000))
				}
				m := f.measure(5*minute, 30*minute)
				t.Logf("shares %.3v; %v", m.share, m)
				m.within(t, "a", 0.25)
				m.within(t, "b", 0.5)
				m.within(t, "c", 0.25)
			})
		})
	}
}

func TestAFullBurstIsServedInBoundedTime(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		f := newFleet(seed, keyLimits(t))
		for i := range 7 {
			f.add(f.worker(fmt.Sprint(i), 1, 2000, 20000))
		}
		big := f.add(f.worker("big", 1, keyLimit, keyLimit))
		m := f.measure(0, 40*minute)
		longest := quantile(1, m.waits["big"])
		t.Logf("a full burst: %d times, longest wait %v, share %.3f; %v", big.grants, longest.Duration(), m.share["big"], m)
		if big.grants < 10 || longest > 5*minute {
			t.Errorf("a full burst was served %d times, and waited %v", big.grants, longest.Duration())
		}
	})
}

// Calls that all fail give everything back: their flow never falls behind by what it uses, but it must not keep others
// waiting for ever.
func TestAFlowThatUsesNothingStarvesNobody(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		f := newFleet(seed, keyLimits(t))
		for range 4 {
			p := f.worker("failing", 1, 2000, 20000)
			p.uses = func([]float64) []float64 { return []float64{0} }
			p.latency = func() bucket.Micros { return second/2 + bucket.Micros(f.IntN(int(second/2))) }
			f.add(p)
		}
		big := f.add(f.worker("big", 1, keyLimit, keyLimit))
		m := f.measure(0, 60*minute)
		longest := quantile(1, m.waits["big"])
		t.Logf("a full burst: %d times, longest wait %v", big.grants, longest.Duration())
		if big.grants < 4 || longest > 15*minute {
			t.Errorf("a full burst was served %d times, and waited %v", big.grants, longest.Duration())
		}
	})
}

func TestADeadProcessDelaysByOneLease(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		f := newFleet(seed, keyLimits(t))
		f.apply(take(keyLimit)) // comes back by refill alone
		big := f.add(f.worker("big", 1, keyLimit, keyLimit))
		f.run(second)
		small := f.add(f.worker("small", 1, 1000, 1000))
		f.run(second)
		if len(f.state.Line) != 2 || small.grants > 0 {
			t.Fatalf("line %+v, %d grants", f.state.Line, small.grants)
		}
		big.die()
		lease := big.poll + big.grace + roundTrip
		f.run(lease + small.poll + roundTrip)
		if small.grants == 0 {
			t.Errorf("nothing was granted within a lease and a poll after its death: %+v", f.state.Line)
		}
	})
}

func TestPollsAGrant(t *testing.T) {
	for name, largest := range map[string]float64{"small requests": 20_000, "one of half a burst": 500_000} {
		t.Run(name, func(t *testing.T) {
			seeds(t, func(t *testing.T, seed uint64) {
				f := newFleet(seed, keyLimits(t))
				f.add(f.worker("0", 1, largest*0.8, largest))
				for i := range 7 {
					f.add(f.worker(fmt.Sprint(i+1), 1, 2000, 20000))
				}
				m := f.measure(5*minute, 30*minute)
				t.Log(m)
				if m.pollsPerGrant > 2 {
					t.Errorf("%.2f polls a grant, want 2 at most", m.pollsPerGrant)
				}
				if m.ofIdeal < 0.97 {
					t.Errorf("share of the ideal %.3f, want 0.97", m.ofIdeal)
				}
			})
		})
	}
}
