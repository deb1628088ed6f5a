package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/memory"
	"github.com/tokenthrottle/throttle/internal/testservice"
)

func TestMain(m *testing.M) { testservice.Main(m) }

// short runs a soak in this process for a moment and judges it as the long one is judged.
func short(t *testing.T, s *soak) Verdict {
	t.Helper()
	var samples []Sample
	end, err := s.run(t.Context(), plan{1500 * time.Millisecond, 50 * time.Millisecond}, func(sample Sample) { samples = append(samples, sample) })
	if err != nil {
		t.Fatal(err)
	}
	return judge(samples, []End{end})
}

func (v *Verdict) found(measure string) (f Finding) {
	for _, f = range v.Findings {
		if f.Measure == measure {
			break
		}
	}
	return f
}

// What takes longer than this to flatten is for the long soak to judge: memory, keys and connections.
func TestShortSoak(t *testing.T) {
	for name, url := range map[string]func() string{
		"memory": func() string { return "memory://" },
		"bolt":   func() string { return "bolt://" + filepath.Join(t.TempDir(), "limits.db") },
		"redis": func() string {
			url := testservice.Redis(t)
			return url + "?prefix=" + testservice.Prefix(t, url)
		},
		"postgres": func() string {
			url := testservice.Postgres(t)
			return url + "&migrate=true&notify=true&schema=" + testservice.Schema(t, url)
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := short(t, &soak{join: joiner(name, url())})
			end := v.Ends[0]
			if end.Minted > 0 {
				t.Errorf("%g tokens were minted", end.Minted)
			}
			if end.Left > 0 {
				t.Errorf("%d goroutines were left", end.Left)
			}
			if end.FirstFailure != "" {
				t.Log("a call failed:", end.FirstFailure)
			}
			if f := v.found(goroutines); f.Rise > f.Mean/2 {
				t.Errorf("goroutines rose by %g to about %g", f.Rise, f.Mean+f.Rise/2)
			}
		})
	}
}

// broken is a driver that does something it must not with each request.
type broken struct {
	driver.Driver
	spoil func(ops []bucket.Op)
}

func (b *broken) Apply(ctx context.Context, batch []driver.Request) ([]driver.Response, error) {
	batch = slices.Clone(batch)
	for i := range batch {
		batch[i].Ops = slices.Clone(batch[i].Ops)
		b.spoil(batch[i].Ops)
	}
	return b.Driver.Apply(ctx, batch)
}

func TestSoakFindsWhatIsBroken(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for name, c := range map[string]struct {
		spoil func([]bucket.Op)
		want  string
	}{
		"credits count twice": {func(ops []bucket.Op) {
			for i := range ops {
				if ops[i].Kind == bucket.Adjust {
					ops[i].Cost = slices.Clone(ops[i].Cost)
					for j := range ops[i].Cost {
						ops[i].Cost[j] *= 2
					}
				}
			}
		}, "were minted"},
		"a goroutine stays": {func([]bucket.Op) { go func() { <-stop }() }, "goroutines rose"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &broken{memory.New(), c.spoil}
			v := short(t, &soak{join: func(context.Context) (driver.Driver, func(), error) { return d, func() {}, nil }})
			if !slices.ContainsFunc(v.Problems, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("want a problem like %q, got %q", c.want, v.Problems)
			}
		})
	}
}

func TestVerdict(t *testing.T) {
	// series has a sample every ten seconds for half an hour.
	series := func(measure string, at func(minute float64) float64) (samples []Sample) {
		for s := 10.0; s <= 1800; s += 10 {
			samples = append(samples, Sample{Driver: "d", Seconds: s, Operations: int(s) * 100, Measures: map[string]float64{measure: at(s / 60)}})
		}
		return samples
	}
	sawtooth := func(minute float64) float64 { return 1000 + 300*(minute*0.7-float64(int(minute*0.7))) }
	failures := func(at, stop int, stalled float64) []Sample {
		samples := series(goroutines, func(float64) float64 { return 1 })
		for i := range samples {
			if i == stop {
				samples[i].Stalled = stalled
			}
			if i >= at {
				samples[i].Failed = 3
			}
		}
		return samples
	}
	// 30 keys a second come, and each is held for so many seconds.
	held := func(seconds func(minute float64) float64, stalls ...float64) []Sample {
		samples := series(keys, func(m float64) float64 { return 30 * min(60*m, seconds(m)) })
		for i := range samples {
			samples[i].Driver, samples[i].Came = "redis", int(30*samples[i].Seconds)
			for _, at := range stalls {
				if samples[i].Seconds == at*60 {
					samples[i].Stalled = 9
				}
			}
		}
		return samples
	}
	good := End{Driver: "d", Allowed: 1000, Length: 1800}
	redis := End{Driver: "redis", Allowed: 1000, Length: 1800}
	for name, c := range map[string]struct {
		samples []Sample
		end     End
		want    string // empty: no problem
	}{
		"level":                      {series(goroutines, func(float64) float64 { return 1000 }), good, ""},
		"a sawtooth":                 {series(goroutines, sawtooth), good, ""},
		"a warm-up":                  {series(goroutines, func(m float64) float64 { return min(m, 13) * 1000 }), good, ""},
		"a slow rise":                {series(goroutines, func(m float64) float64 { return 1000 + 5*m }), good, "goroutines rose"},
		"a slow rise in a sawtooth":  {series(goroutines, func(m float64) float64 { return sawtooth(m) + 8*m }), good, "goroutines rose"},
		"one goroutine in 5 minutes": {series(goroutines, func(m float64) float64 { return float64(30 + int(m/5)) }), good, "goroutines rose"},
		"memory":                     {series(heap, func(m float64) float64 { return 1e6 + 3e4*m }), good, "live heap rose"},
		"a fall":                     {series(goroutines, func(m float64) float64 { return 1000 - 20*m }), good, ""},
		"keys for a minute":          {held(func(float64) float64 { return 60 }), redis, ""},
		"keys for ever":              {held(func(float64) float64 { return 1e9 }), redis, "keys, though only"},
		"keys for longer and longer": {held(func(m float64) float64 { return 60 + 3*m }), redis, "keys, though only"},
		"keys for a minute, stalled": {held(func(float64) float64 { return 60 }, 5, 10, 15, 20, 25), redis, ""},
		"keys for ever, stalled":     {held(func(float64) float64 { return 1e9 }, 5, 10, 15, 20, 25), redis, "keys, though only"},
		"stalled too often":          {held(func(float64) float64 { return 60 }, 13, 15, 17, 19, 21, 23, 25, 27, 29), redis, "can be judged"},
		"no samples":                 {nil, good, "no samples"},
		"minted":                     {series(goroutines, sawtooth), End{Driver: "d", Allowed: 1000, Length: 1800, Minted: 1}, "minted"},
		"idle":                       {series(goroutines, sawtooth), End{Driver: "d", Allowed: 1000, Length: 1800, Lost: 200}, "not saturated"},
		"left":                       {series(goroutines, sawtooth), End{Driver: "d", Allowed: 1000, Length: 1800, Connections: 1}, "were left"},
		"failures":                   {failures(50, 50, 0), good, "3 calls failed"},
		"failures without processor": {failures(50, 50, 5), good, ""},
		"failures after a stall":     {failures(50, 49, 5), good, ""},
		"failures on waking":         {failures(50, 51, 5), good, ""},
		"failures before a stall":    {failures(50, 52, 5), good, "3 calls failed"},
		"failures long after one":    {failures(50, 48, 5), good, "3 calls failed"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.samples, []End{c.end}).Problems
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
}

func TestBooks(t *testing.T) {
	b := &books{granted: 900, credited: 300, owed: 50}
	for _, c := range []struct{ level, maybe, minted, lost float64 }{
		{350, 0, 0, 0},
		{340, 0, 0, 10},
		{360, 0, 10, 0},
		{360, 10, 0, 0}, // a credit whose answer was lost may have been given
	} {
		b.maybe = c.maybe
		if minted, lost := b.judge(c.level, 1000); minted-c.minted > 0.01 || c.minted-minted > 0.01 || lost != c.lost {
			t.Errorf("a level of %g: minted %g, lost %g; want %g, %g", c.level, minted, lost, c.minted, c.lost)
		}
	}
}
