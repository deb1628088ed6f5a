package fallback_test

import (
	"fmt"
	"log"
	"time"

	"github.com/tokenthrottle/throttle"
	"github.com/tokenthrottle/throttle/driver/fallback"
	"github.com/tokenthrottle/throttle/driver/memory"
)

// While the store is down, each of n processes goes on with an n-th of every quota.
func ExampleShare() {
	store := memory.New() // a shared one: driver.Open(ctx, "redis://limits:6379/0")
	d := fallback.Share(store, &fallback.Options{
		Retry: time.Second,
		OnChange: func(err error) {
			if err != nil {
				log.Print("without the store: ", err)
			} else {
				log.Print("the store is back")
			}
		},
	})
	lim := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 500)))
	defer lim.Close()
	fmt.Println(lim.Families())
	// Output: []
}

// While the store is down, everything is granted: rather a 429 than a wait.
func ExampleOpen() {
	d := fallback.Open(memory.New(), nil)
	lim := throttle.New(d, throttle.Static(throttle.PerMinute("requests", 500)))
	defer lim.Close()
}
