package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

func TestGateLetsApartTogether(t *testing.T) {
	var g gate
	ctx := t.Context()
	for _, stripes := range []uint64{1, 2, 12} {
		if err := g.enter(ctx, stripes); err != nil {
			t.Fatal(err)
		}
	}
	g.leave(2)
	if err := g.enter(ctx, 2); err != nil {
		t.Fatal(err)
	}
	for _, stripes := range []uint64{1, 2, 12} {
		g.leave(stripes)
	}
	if g.held != 0 || len(g.waiting) != 0 {
		t.Errorf("in the end %b is held and %d wait", g.held, len(g.waiting))
	}
}

// Who asks for much isn't overtaken for ever by those who ask for a part of it.
func TestGateIsFair(t *testing.T) {
	var g gate
	if err := g.enter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	order := make(chan string, 2)
	var all sync.WaitGroup
	enter := func(name string, stripes uint64) {
		before := g.queue()
		all.Go(func() {
			if err := g.enter(context.Background(), stripes); err != nil {
				t.Error(err)
			}
			order <- name
			g.leave(stripes)
		})
		for g.queue() == before { // until it waits
		}
	}
	enter("much", 3)
	enter("part", 2) // is free, but somebody before it waits for it
	g.leave(1)
	all.Wait()
	if first := <-order; first != "much" {
		t.Errorf("%s came first", first)
	}
}

func (g *gate) queue() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func TestGateGivesUp(t *testing.T) {
	var g gate
	if err := g.enter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.enter(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if g.queue() != 0 {
		t.Error("who has given up still waits")
	}
	g.leave(1)
	if err := g.enter(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// Nobody is let in beside one who holds a part of the same, and nobody waits for ever, also where many give up.
func TestGateExcludes(t *testing.T) {
	var g gate
	var inside [8]atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		all.Go(func() {
			for range 2000 {
				stripes := r.Uint64()%255 + 1
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(4) == 0 {
					go cancel()
				}
				if err := g.enter(ctx, stripes); err == nil {
					for s := range inside {
						if stripes&(1<<s) != 0 && inside[s].Add(1) != 1 {
							t.Errorf("two hold stripe %d", s)
						}
					}
					for s := range inside {
						if stripes&(1<<s) != 0 {
							inside[s].Add(-1)
						}
					}
					g.leave(stripes)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if g.held != 0 || len(g.waiting) != 0 {
		t.Errorf("in the end %b is held and %d wait", g.held, len(g.waiting))
	}
}
