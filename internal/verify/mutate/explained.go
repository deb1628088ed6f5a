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
	key("driver/bolt/check.go slot", "`1` for `0` in `value >= 0`"):                                  {true, "It is 12 in a leaf and -1 in a branch."},
	key("driver/bolt/apply.go take", "`1` for `0` in `make([]bucket.Op, 0, len(s.Line)+1)`"):         {true, "An operation of no kind comes first, which does nothing."},
	key("bucket/state.go align", "nothing for `return`"):                                             {true, "What follows finds that the buckets match, and returns: it is there for time alone."},
	key("bucket/refill.go timeTo", "`1` for `0` in `holds-step > 0`"):                                {true, "The search then begins at 0 instead of 1 and finds the same."},
	key("bucket/line.go keep", "`||` for `&&` in `renewed && span != p.Span`"):                       {true, "To give 0 back changes nothing, and a new place's share is the one that was just worked out."},
	key("bucket/line.go sortLine", "nothing for `return`"):                                           {true, "Once it is sorted, nothing further back is out of order."},
	key("flush.go send", "nothing for `clear(b.requests)`"):                                          {false, "The next batch overwrites them; until then they keep some memory."},
	key("send.go decided", "`3` for `2` in `2*ln.granted`"):                                          {false, "How fast a lane's requests grow with its grants: any growth serves, and only speed differs."},
	key("driver/postgres/apply.go attempt", "nothing for `defer cancel()`"):                          {true, "The Apply's context, its parent, ends it."},

	key("internal/redisscript/lua/op.lua", "`-` for `+` in `if op[COST + i] ~= 0 then`"):                                                           {true, "What stands before the costs is no 0, so each is taken, and 0 taken changes nothing."},
	key("internal/redisscript/lua/quick.lua", "`17` for `16` in `if #client < 16 or stored and find(stored, limits, 1, true) ~= 1 or not n then`"): {true, "A client of 16 bytes then goes the general way, which does the same; those of drivers are longer."},
	key("internal/redisscript/lua/unrolled.lua", "`1` for `0` in `elseif expires > 0 then`"):                                                       {true, "An expiry, in milliseconds, is more than a minute after 1970."},
}

// The short cut in timeTo is there for time alone. A change that closes it, or narrows it, does the same: what follows finds the
// same span.
func init() {
	const line = " in `if estimate > 1 and burst >= need and level + limit * estimate / per >= need ...`"
	for change, why := range map[string]string{
		"`<=` for `>`":         "What is 1 is also found without the short cut, and what is more as well.",
		"`>=` for `>`":         "An estimate of 1 is right: none is less, and the level is short now.",
		"`2` for `1`":          "An estimate of 2 is then found without the short cut.",
		"`<` for `>=`":         "Nobody asks for more than the burst, so the short cut is never taken.",
		"`>` for `>=`":         "What is needed to the brim is then found without the short cut.",
		"`>` for `>=` (no. 2)": "What is then just enough is found without the short cut.",
		"`-` for `+`":          "A level that falls never reaches what is needed, so the short cut is never taken.",
		"`+` for `-`":          "What is enough after the estimate is enough after one more, so the short cut is never taken.",
		"`/` for `*`":          "Less is then asked to reach as much, so the short cut is taken only where it is right.",
		"`*` for `/` (no. 2)":  "More must then fall short, so the short cut is taken only where it is right.",
	} {
		explained[key("internal/redisscript/lua/level.lua", change+line)] = reason{true, why}
	}
}

func key(where, change string) string { return where + ": " + change }

func explanation(v Verdict) reason { return explained[key(v.Where, v.Change)] }
