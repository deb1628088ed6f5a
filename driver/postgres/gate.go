package postgres

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
)

// gate lets one batch at a time at a key, of those of this driver: transactions that are sure to conflict take turns
// here instead of in the server. It is no more than that; what keeps states right is SERIALIZABLE.
//
// Keys are spread over 64 stripes. A batch takes all of its stripes at once, and in order of arrival where it meets
// others, so that nobody starves.
type gate struct {
	mu      sync.Mutex
	held    uint64
	waiting []*waiter
}

type waiter struct {
	stripes uint64
	ready   chan struct{} // closed when the stripes are taken
}

var stripeSeed = maphash.MakeSeed()

func stripe(key string) uint64 { return 1 << (maphash.String(stripeSeed, key) % 64) }

// enter takes the stripes, or returns ctx's error.
func (g *gate) enter(ctx context.Context, stripes uint64) error {
	g.mu.Lock()
	taken := g.held
	for _, w := range g.waiting {
		taken |= w.stripes
	}
	if taken&stripes == 0 {
		g.held |= stripes
		g.mu.Unlock()
		return nil
	}
	w := &waiter{stripes, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else {
		g.held &^= stripes // its turn had come meanwhile
	}
	g.admit()
	return ctx.Err()
}

// leave gives the stripes back.
func (g *gate) leave(stripes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held &^= stripes
	g.admit()
}

// admit lets in those who wait for nothing that is held or that somebody before them waits for.
func (g *gate) admit() {
	taken := g.held
	g.waiting = slices.DeleteFunc(g.waiting, func(w *waiter) bool {
		admitted := w.stripes&taken == 0
		if admitted {
			g.held |= w.stripes
			close(w.ready)
		}
		taken |= w.stripes
		return admitted
	})
}
