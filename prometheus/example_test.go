package throttleprom_test

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleprom "github.com/tokenthrottle/throttle/prometheus"
)

func ExampleRegister() {
	ctx := context.Background()
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	reg := prometheus.NewRegistry() // or prometheus.DefaultRegisterer
	if err := throttleprom.Register(reg, lim, &throttleprom.Options{Models: []string{"gpt-4.1"}}); err != nil {
		fmt.Println(err)
	}

	_ = lim.Do(ctx, "gpt-4.1", throttle.Usage{"tokens": 900}, func(context.Context) (throttle.Usage, error) {
		return throttle.Usage{"tokens": 300}, nil
	})

	metrics, _ := reg.Gather() // promhttp.HandlerFor(reg, …) serves them
	for _, m := range metrics {
		if m.GetName() == "throttle_refunded_units_total" {
			fmt.Println(m.GetName(), m.GetMetric()[0].GetLabel()[0].GetValue(), m.GetMetric()[0].GetCounter().GetValue())
		}
	}
	// Output:
	// throttle_refunded_units_total gpt-4.1 600
}

// One set of counts for several limiters.
func ExampleNewHooks() {
	reg := prometheus.NewRegistry()
	hooks, err := throttleprom.NewHooks(reg, nil)
	if err != nil {
		fmt.Println(err)
	}
	store, models := memory.New(), throttle.Static(throttle.PerMinute("requests", 60))
	for range 2 {
		lim := throttle.New(store, models, throttle.WithHooks(hooks))
		defer lim.Close()
		_, _ = lim.Acquire(context.Background(), "m", throttle.Usage{"requests": 1})
	}

	metrics, _ := reg.Gather()
	fmt.Println(metrics[0].GetName(), metrics[0].GetMetric()[0].GetCounter().GetValue())
	// Output:
	// throttle_acquired_total 2
}

// The store's levels alone, without counting calls: for a program that only looks.
func ExampleNewCollector() {
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()
	reg := prometheus.NewRegistry()
	reg.MustRegister(throttleprom.NewCollector(lim, &throttleprom.Options{Models: []string{"gpt-4.1"}}))
	metrics, _ := reg.Gather()
	for _, m := range metrics {
		if m.GetName() == "throttle_level_units" {
			fmt.Println(m.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: 1000
}
