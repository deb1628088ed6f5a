package redis

import "testing"

// The first command of a call of one part uses the memory that came with the call. A later one doesn't: whoever hooks into
// the client may hold the first one's arguments.
func TestCommandMemory(t *testing.T) {
	for _, c := range []struct {
		parts []int
		tried bool
		own   bool
	}{
		{[]int{0}, false, true},
		{[]int{0}, true, false},
		{[]int{0, 1}, false, false},
	} {
		call := &call{d: &Driver{}, parts: c.parts, tried: c.tried}
		args := call.command(t.Context()).Args()
		if own := call.about == &call.first; own != c.own {
			t.Errorf("%d parts, tried before %v: about in the call's own memory %v, want %v", len(c.parts), c.tried, own, c.own)
		}
		if own := &args[0] == &call.few[0]; own != c.own {
			t.Errorf("%d parts, tried before %v: arguments in the call's own memory %v, want %v", len(c.parts), c.tried, own, c.own)
		}
	}
}

// A command tells the script how long the prefix is, which its channel has too, and of a call that may have been applied, since when: without that
// the script couldn't tell that it no longer remembers.
func TestCommandTellsOfItself(t *testing.T) {
	for _, unsure := range []bool{false, true} {
		call := &call{d: &Driver{prefix: "p:"}, parts: []int{0}, unsure: unsure, since: 7}
		call.command(t.Context())
		if a := call.about; a.Prefix != 2 || a.Retry != unsure || a.Since != 7 {
			t.Errorf("unsure %v: prefix %d, retry %v since %d", unsure, a.Prefix, a.Retry, a.Since)
		}
	}
}
