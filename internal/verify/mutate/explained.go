package main

// reason says why a mutant survives.
type reason struct {
	same bool // it does the same as the code, so that no test can tell them
	why  string
}

// explained holds the mutants that survive, by where they are and the change.
var explained = map[string]reason{
	key("driver/memory/memory.go clear", "`1` for `0` in `s.cells, s.peak = map[string]*cell{}, 0`"): {true, "The peak is looked at only above 64, and each key that is held raises it to their number."},
	key("internal/redisscript/lua/line.lua", "`<=` for `<` in `return x < y`"):                       {true, "The two differ: the line before asked."},
	key("driver/bolt/apply.go await", "`2` for `1` in `make(chan error, 1)`"):                        {true, "Room for one more answer than is ever sent."},
	key("bucket/state.go align", "nothing for `return`"):                                             {true, "What follows finds that the buckets match, and returns: it is there for time alone."},
	key("bucket/refill.go timeTo", "`1` for `0` in `holds-step > 0`"):                                {true, "The search then begins at 0 instead of 1 and finds the same."},
	key("bucket/line.go keep", "`||` for `&&` in `renewed && span != p.Span`"):                       {true, "To give 0 back changes nothing, and a new place's share is the one that was just worked out."},
	key("bucket/line.go sortLine", "nothing for `return`"):                                           {true, "Once it is sorted, nothing further back is out of order."},
	key("flush.go send", "nothing for `clear(b.requests)`"):                                          {false, "The next batch overwrites them; until then they keep some memory."},
	key("send.go decided", "`3` for `2` in `2*ln.granted`"):                                          {false, "How fast a lane's requests grow with its grants: any growth serves, and only speed differs."},
	key("driver/postgres/apply.go attempt", "nothing for `defer cancel()`"):                          {true, "The Apply's context, its parent, ends it."},
}

func key(where, change string) string { return where + ": " + change }

func explanation(v Verdict) reason { return explained[key(v.Where, v.Change)] }
