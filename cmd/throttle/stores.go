package main

import (
	// The stores that --store can name.
	_ "github.com/tokenthrottle/throttle/driver/bolt"
	_ "github.com/tokenthrottle/throttle/driver/memory"
)
