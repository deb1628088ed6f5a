package observe

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleotel "github.com/tokenthrottle/throttle/otel"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
)

// BenchmarkMetrics is what an acquire and a settle in memory cost with metrics, beside what they cost without. The two
// take turns in slices of some 50 µs. What else a machine does makes slices longer and never shorter, so the time that a
// tenth of the slices stay below is compared: "x" is the factor, "x/median" that of the medians.
func BenchmarkMetrics(b *testing.B) {
	plain := func(*testing.B, *throttle.Limiter) {}
	for name, export := range map[string]func(b *testing.B, l *throttle.Limiter){
		"Prometheus": func(b *testing.B, l *throttle.Limiter) {
			if err := throttleprom.Register(prometheus.NewRegistry(), l, nil); err != nil {
				b.Fatal(err)
			}
		},
		"OpenTelemetryMetrics": func(b *testing.B, l *throttle.Limiter) {
			if _, err := throttleotel.Register(l, &throttleotel.Options{NoSpans: true}); err != nil {
				b.Fatal(err)
			}
		},
		"OpenTelemetryWithSpans": func(b *testing.B, l *throttle.Limiter) {
			if _, err := throttleotel.Register(l, nil); err != nil {
				b.Fatal(err)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			const batch = 200
			sides := []func(){calls(b, plain, batch), calls(b, export, batch)}
			took := make([][]float64, len(sides))
			for b.Loop() {
				for i, side := range sides {
					start := time.Now()
					side()
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/batch)
				}
			}
			for i := range took {
				slices.Sort(took[i])
			}
			at := func(part float64) (without, with float64) {
				i := int(part * float64(len(took[0])-1))
				return took[0][i], took[1][i]
			}
			without, with := at(.5)
			b.ReportMetric(with/without, "x/median")
			without, with = at(.1)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(without, "ns/without")
			b.ReportMetric(with, "ns/with")
			b.ReportMetric(with/without, "x")
		})
	}
}

// calls makes a limiter and returns what acquires and settles n times.
func calls(b *testing.B, export func(*testing.B, *throttle.Limiter), n int) func() {
	l := throttle.New(memory.New(), throttle.Static(
		throttle.PerMinute("requests", 1e12), throttle.PerMinute("tokens", 1e14), throttle.PerDay("requests", 1e14)))
	export(b, l)
	ctx, reserve, actual := context.Background(), throttle.Usage{"requests": 1, "tokens": 1000}, throttle.Usage{"requests": 1, "tokens": 100}
	return func() {
		for range n {
			r, err := l.Acquire(ctx, "m", reserve)
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Settle(ctx, actual); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// With metrics on, a call allocates no more than without.
func TestMetricsAllocateNothing(t *testing.T) {
	allocs := func(export func(*throttle.Limiter) error) float64 {
		l := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("requests", 1e12), throttle.PerMinute("tokens", 1e14)))
		defer l.Close()
		if err := export(l); err != nil {
			t.Fatal(err)
		}
		ctx, reserve, actual := context.Background(), throttle.Usage{"requests": 1, "tokens": 1000}, throttle.Usage{"tokens": 100}
		return testing.AllocsPerRun(1000, func() {
			r, err := l.Acquire(ctx, "m", reserve)
			if err == nil {
				err = r.Settle(ctx, actual)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	without := allocs(func(*throttle.Limiter) error { return nil })
	for name, export := range map[string]func(*throttle.Limiter) error{
		"Prometheus":    func(l *throttle.Limiter) error { return throttleprom.Register(prometheus.NewRegistry(), l, nil) },
		"OpenTelemetry": func(l *throttle.Limiter) error { _, err := throttleotel.Register(l, nil); return err },
	} {
		if with := allocs(export); with > without {
			t.Errorf("with %s an acquire and a settle allocate %v times, without it %v times", name, with, without)
		}
	}
}
