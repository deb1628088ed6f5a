package throttle

import (
	"fmt"
	"sync"
	"testing"

	"github.com/tokenthrottle/throttle/driver/memory"
)

func TestFamiliesAreFoundOnceAdded(t *testing.T) {
	l := New(memory.New(), Static(PerMinute("requests", 1)))
	fs := &l.families
	const n = 300
	added := map[string]*family{}
	for i := range n {
		name := fmt.Sprint("family ", i)
		f, err := fs.add(l, name)
		if err != nil {
			t.Fatal(err)
		}
		added[name] = f
		for known, want := range added {
			if got := fs.get(known); got != want {
				t.Fatalf("after %d were added, %q is %p, want %p", i+1, known, got, want)
			}
		}
		if again, _ := fs.add(l, name); again != f {
			t.Fatalf("adding %q again makes another", name)
		}
	}
	if got := fs.get("nobody"); got != nil {
		t.Errorf("found a family that nobody added: %p", got)
	}
	if len(fs.list()) != n {
		t.Errorf("%d families listed, want %d", len(fs.list()), n)
	}
	if fs.find("family 0") == nil {
		t.Error("what is looked for all the time is not published")
	}
}

// A sweep drops what wasn't used since the last one, published or not, and nothing that is in use is ever replaced.
func TestSweptFamiliesAreNotFound(t *testing.T) {
	l := New(memory.New(), Static(PerMinute("requests", 1)))
	fs := &l.families
	names := []string{"a", "b", "c"}
	for _, name := range names {
		if _, err := fs.add(l, name); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		fs.get("a")
	}
	used := fs.get("b")
	used.used.Store(true)
	fs.mu.Lock()
	fs.sweep()
	fs.mu.Unlock()
	fs.settled()
	for _, name := range []string{"a", "c"} {
		if f := fs.get(name); f != nil {
			t.Errorf("%q is found after it was swept", name)
		}
	}
	if fs.get("b") != used {
		t.Error("the family in use was swept")
	}
	if _, err := fs.add(l, "d"); err != nil {
		t.Fatal(err)
	}
	if fs.get("b") != used || fs.get("d") == nil {
		t.Error("adding a family after a sweep lost one")
	}
}

// All who look for a new family at once get the same one. Run with -race.
func TestConcurrentAddsAgree(t *testing.T) {
	l := New(memory.New(), Static(PerMinute("requests", 1)))
	const goroutines, names = 8, 200
	var got [goroutines][names]*family
	var work sync.WaitGroup
	for g := range goroutines {
		work.Go(func() {
			for i := range names {
				name := fmt.Sprint(i)
				f := l.families.get(name)
				if f == nil {
					f, _ = l.families.add(l, name)
				}
				got[g][i] = f
			}
		})
	}
	work.Wait()
	for g := range goroutines {
		if got[g] != got[0] {
			t.Fatalf("goroutine %d got other families than goroutine 0", g)
		}
	}
}
