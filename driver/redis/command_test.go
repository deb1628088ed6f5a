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
