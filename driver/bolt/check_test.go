package bolt

import (
	"encoding/binary"
	"strings"
	"testing"
)

// leafOf is a leaf with such keys and no values.
func leafOf(keys ...string) []byte {
	page := make([]byte, headerSize+elementSize*len(keys))
	binary.NativeEndian.PutUint16(page[8:], leafPage)
	binary.NativeEndian.PutUint16(page[10:], uint16(len(keys)))
	for i, key := range keys {
		at := headerSize + elementSize*i
		binary.NativeEndian.PutUint32(page[at+4:], uint32(len(page)-at))
		binary.NativeEndian.PutUint32(page[at+8:], uint32(len(key)))
		page = append(page, key...)
	}
	return page
}

// The keys of a leaf ascend, each once, within the bounds that the branch above it gives.
func TestOrderOfALeaf(t *testing.T) {
	for _, c := range []struct {
		keys        []string
		least, most string
		ordered     bool
	}{
		{[]string{"a", "b", "c"}, "a", "d", true},
		{[]string{"a", "b", "c"}, "", "", true},
		{[]string{"a", "c", "b"}, "", "", false},
		{[]string{"a", "b", "b"}, "", "", false},
		{[]string{"a", "b"}, "aa", "", false},
		{[]string{"a", "b"}, "", "b", false},
	} {
		var least, most []byte
		if c.least != "" {
			least = []byte(c.least)
		}
		if c.most != "" {
			most = []byte(c.most)
		}
		last, err := new(checker).elements(leafOf(c.keys...), 3, least, most, 0)
		switch {
		case c.ordered && (err != nil || string(last) != c.keys[len(c.keys)-1]):
			t.Errorf("keys %q from %q to %q: last %q, %v", c.keys, c.least, c.most, last, err)
		case !c.ordered && (err == nil || !strings.Contains(err.Error(), "out of order")):
			t.Errorf("keys %q from %q to %q: error %v, want one of their order", c.keys, c.least, c.most, err)
		}
	}
}
