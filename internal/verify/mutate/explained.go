package main

// explained says of mutants that survive why no test can tell them from the code: by the file and the change.
var explained = map[string]string{
	"driver/memory/memory.go: `1` for `0` in `s.cells, s.peak = map[string]*cell{}, 0`": "The peak is looked at only above 64, and each key that is held raises it to their number.",
	"internal/redisscript/lua/line.lua: `<=` for `<` in `return x < y`":                 "The two differ: the line before asked.",
	"driver/postgres/apply.go: nothing for `defer cancel()`":                            "The timer of a context that nobody looks at any more ends two seconds later.",
	"driver/postgres/apply.go: nothing for `defer stop()`":                              "The Apply's context ends with it; then a timer cancels what is over.",
	"lane.go: `--` for `++` in `ln.failFast++`":                                         "The count only spares a look at the lane when there are none; below zero it spares nothing.",
	"family.go: `<=` for `<` in `res.Now < f.storeNow`":                                 "For a clock that stands still: the Rebase that is sent then finds nothing to move.",
	"reservation.go: `--` for `++` in `found++`":                                        "Then all that was named is checked once more, and found right.",
	"driver/bolt/apply.go: `2` for `1` in `make(chan error, 1)`":                        "Room for one more answer than is ever sent.",
}

func explanation(v Verdict) string { return explained[v.File+": "+v.Change] }
