package driver

import (
	"crypto/rand"
	"strconv"
	"sync"
)

// Namer names batches, for a driver whose connection can lose an answer: it sends the name with the batch
// ([bucket.Request.Batch]) and, when the answer is lost, sends the same batch again with Retry set. A state remembers a
// client's newest batch only, so each batch under way takes a client of its own. The zero Namer is not ready; use
// [NewNamer]. It is safe for concurrent use.
type Namer struct {
	prefix string

	mu   sync.Mutex
	free []*client
	made int
}

type client struct {
	name string
	next uint64
}

// NewNamer returns a Namer whose names nobody else has: 128 random bits.
func NewNamer() *Namer { return &Namer{prefix: rand.Text()} }

// Name is taken for one batch.
type Name struct {
	namer  *Namer
	client *client
	text   string
}

// Take names the next batch.
func (n *Namer) Take() Name {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.free) == 0 {
		n.made++
		n.free = append(n.free, &client{name: n.prefix + "." + strconv.Itoa(n.made) + "/"})
	}
	c := n.free[len(n.free)-1]
	n.free = n.free[:len(n.free)-1]
	c.next++
	return Name{namer: n, client: c, text: c.name + strconv.FormatUint(c.next, 36)}
}

// String is what to send.
func (n Name) String() string { return n.text }

// Done gives the name back once the batch's outcome is known, or is reported as unknown.
func (n Name) Done() {
	n.namer.mu.Lock()
	defer n.namer.mu.Unlock()
	n.namer.free = append(n.namer.free, n.client)
}
