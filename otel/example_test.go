package throttleotel_test

import (
	"context"
	"fmt"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/memory"
	throttleotel "github.com/tokenthrottle/throttle/otel"
)

func ExampleRegister() {
	lim := throttle.New(memory.New(), throttle.Static(throttle.PerMinute("tokens", 1000)))
	defer lim.Close()

	// With the global MeterProvider; spans go where the span in a call's context goes.
	stop, err := throttleotel.Register(lim, &throttleotel.Options{Models: []string{"gpt-4.1"}})
	if err != nil {
		fmt.Println(err)
	}
	defer stop()

	_, err = lim.Acquire(context.Background(), "gpt-4.1", throttle.Usage{"tokens": 900})
	fmt.Println(err)
	// Output:
	// <nil>
}

func ExampleNewHooks() {
	hooks, err := throttleotel.NewHooks(&throttleotel.Options{NoSpans: true, Flows: []string{"batch", "production"}})
	if err != nil {
		fmt.Println(err)
	}
	models := throttle.Static(throttle.PerMinute("tokens", 1000))
	batch := throttle.New(memory.New(), models, throttle.WithHooks(hooks), throttle.Flow("batch", 1))
	defer batch.Close()

	_, err = batch.Acquire(context.Background(), "gpt-4.1", throttle.Usage{"tokens": 900})
	fmt.Println(err)
	// Output:
	// <nil>
}
