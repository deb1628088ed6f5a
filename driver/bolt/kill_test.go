package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
)

// victimFile names, in its environment, the file on which this program is to act as the victim.
const victimFile = "THROTTLE_TEST_BOLT_VICTIM"

// The victim's quota, whose refill shows within a test.
const (
	killBurst = 1_000_000
	killRate  = 50 // units a second
	acquires  = 1000
)

func TestMain(m *testing.M) {
	if path := os.Getenv(victimFile); path != "" {
		if err := victim(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// victim acquires, and says each time what was granted once Apply has returned. It also stands in line.
func victim(path string) error {
	d, err := Open(path, nil)
	if err != nil {
		return err
	}
	l, err := bucket.NewLimits(bucket.Quota{Resource: "tokens", Limit: killRate, Per: bucket.Second, Burst: killBurst})
	if err != nil {
		return err
	}
	var out sync.Mutex
	var all sync.WaitGroup
	const goroutines = 4
	for i := range goroutines {
		all.Go(func() {
			for j := range acquires / goroutines {
				cost := float64(1 + (i+j)%7)
				r, err := d.Apply(context.Background(), []driver.Request{
					{Key: "k", Limits: l, Ops: []bucket.Op{{Kind: bucket.Acquire, Cost: []float64{cost}}}},
					{Key: "line", Limits: l, Ops: []bucket.Op{
						recorded(killBurst), {Kind: bucket.Acquire, Cost: []float64{1}, Place: fmt.Sprint("place-", i), Poll: bucket.Day}, {Kind: bucket.Adjust, Cost: []float64{killBurst}}}},
				})
				if err != nil || r[0].Results[0].Status != bucket.Granted {
					fmt.Fprintln(os.Stderr, r, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(cost, int64(r[0].Now))
				out.Unlock()
			}
		})
	}
	all.Wait()
	return d.Close()
}

// TestKill kills a process in the middle of its acquires, again and again on one file. What it was told it had stays
// taken; what more is taken is what it was about to be told.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limits.db")
	l := mustLimits(t, bucket.Quota{Resource: "tokens", Limit: killRate, Per: bucket.Second, Burst: killBurst})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	before, at := float64(killBurst), bucket.Micros(0)
	for round := range 20 {
		told := kill(t, path, 1+r.IntN(acquires*9/10))
		if told.finished {
			continue // it was faster: nothing was tried
		}
		killed++
		d := mustOpen(t, path, nil)
		res := mustApply(t, d, driver.Request{Key: "k", Limits: l, Ops: []bucket.Op{{Kind: bucket.Peek}}}, driver.Request{Key: "line"})
		level, now := res[0].Results[0].State.Buckets[0].Level, res[0].Now
		if at == 0 {
			at = told.first
		}
		refill := killRate * float64(now-at) / float64(bucket.Second)
		if most := before - told.units + refill; level > most+1e-6 {
			t.Errorf("round %d: %v units are there; %v were, of which %v were granted, and at most %v came back: at most %v can be", round, level, before, told.units, refill, most)
		}
		if least := before - told.units - 4*7 - 1e-6; level < least { // four acquires of up to 7 were under way
			t.Errorf("round %d: %v units are there, at least %v must be", round, level, least)
		}
		if res[1].Waiting != 0 {
			t.Errorf("round %d: %d places of a dead process are in line", round, res[1].Waiting)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		before, at = level, now
	}
	if killed < 15 {
		t.Errorf("only %d of 20 processes were killed in time", killed)
	}
}

// told is what a victim said before it died.
type told struct {
	units    float64
	first    bucket.Micros
	finished bool
}

// kill starts a victim and kills it after it has said n things.
func kill(t *testing.T, path string, n int) told {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), victimFile+"="+path)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	var all told
	lines := bufio.NewReader(out)
	for i := 0; ; i++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break // a line without an end was never told
		}
		if err != nil {
			t.Fatal(err)
		}
		cost, now, _ := strings.Cut(strings.TrimSpace(line), " ")
		units, err := strconv.ParseFloat(cost, 64)
		if err != nil {
			t.Fatal(err)
		}
		all.units += units
		micros, err := strconv.ParseInt(now, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if at := bucket.Micros(micros); i == 0 || at < all.first {
			all.first = at
		}
		if i == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	all.finished = err == nil
	if errs.Len() > 0 {
		t.Fatalf("the victim: %s", errs.String())
	}
	return all
}
