package linear

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tokenthrottle/throttle/bucket"
	"github.com/tokenthrottle/throttle/driver"
	"github.com/tokenthrottle/throttle/driver/bolt"
	"github.com/tokenthrottle/throttle/internal/testservice"
	"github.com/tokenthrottle/throttle/internal/verify/faultdisk"
)

// childVariable holds, in the environment of a program that is to serve a bolt file on a disk that fails, the seed of the
// faults and the file's path.
const childVariable = "THROTTLE_LINEAR_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVariable); job != "" {
		if err := serve(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testservice.Main(m)
}

// question is what the child is asked, and reply what it answers, each a line of JSON.
type question struct {
	ID  int
	Key string
	Ops []bucket.Op
}

type reply struct {
	ID              int
	Statuses        []bucket.Status
	Unknown, Failed bool
}

// noFaults is the exit status of a child whose system can't make a disk fail.
const noFaults = 3

// failing is what a disk does to a call: mostly nothing; now and then an error, or half of a write; and sometimes it
// ends the process, before the call, in the middle of it, or behind it.
func failing(rng *rand.Rand) func(faultdisk.Op) faultdisk.Verdict {
	return func(o faultdisk.Op) faultdisk.Verdict {
		switch n := rng.IntN(1000); {
		case n < 3 && o == faultdisk.Write:
			return faultdisk.Verdict{Action: []faultdisk.Action{faultdisk.Kill, faultdisk.KillHalf, faultdisk.KillBehind}[n]}
		case n < 15 && o == faultdisk.Write:
			return faultdisk.Verdict{Action: faultdisk.Fail, Err: syscall.ENOSPC}
		case n < 25 && o == faultdisk.Sync:
			return faultdisk.Verdict{Action: faultdisk.Fail, Err: syscall.EIO}
		}
		return faultdisk.Verdict{}
	}
}

// serve answers questions from a file, which it opens again when a write has failed.
func serve(job string) error {
	var seed uint64
	var path string
	if _, err := fmt.Sscan(job, &seed, &path); err != nil {
		return err
	}
	if err := faultdisk.Install(failing(rand.New(rand.NewPCG(seed, 1)))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noFaults)
	}
	var file sync.RWMutex // held for writing while the file is opened again
	d := reopen(path)
	var out sync.Mutex
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var q question
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		go func() {
			file.RLock()
			used := d
			responses, err := used.Apply(context.Background(), []driver.Request{{Key: q.Key, Limits: limits, Ops: q.Ops}})
			file.RUnlock()
			r := reply{ID: q.ID, Unknown: errors.Is(err, driver.ErrUnknownOutcome), Failed: err != nil && !errors.Is(err, driver.ErrUnknownOutcome)}
			if err == nil {
				for _, result := range responses[0].Results {
					r.Statuses = append(r.Statuses, result.Status)
				}
			} else {
				file.Lock()
				if d == used { // nobody else has done it
					d.Close()
					d = reopen(path)
				}
				file.Unlock()
			}
			out.Lock()
			defer out.Unlock()
			_ = json.NewEncoder(os.Stdout).Encode(r) // who asked is gone otherwise
		}()
	}
	return nil
}

// reopen opens the file, as often as the disk fails meanwhile.
func reopen(path string) *bolt.Driver {
	for {
		if d, err := bolt.Open(path, nil); err == nil {
			return d
		}
	}
}

// remote is a driver whose file another process serves, which may be killed; then the next call starts another.
type remote struct {
	path    string
	seed    uint64
	mu      sync.Mutex
	process *process // nil if none runs
	asked   int
	killed  int
	dead    error // why no child can be started any more
}

var errNoFaults = errors.New("this system can't make a disk fail")

// state says how often a child was killed, and why none can be started any more.
func (d *remote) state() (killed int, dead error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.killed, d.dead
}

// process is a child that serves the file.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	open  map[int]chan reply
}

// start starts a child, with the lock held.
func (d *remote) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &process{cmd: exec.Command(self, "-test.run=^$"), open: map[int]chan reply{}}
	d.seed++
	p.cmd.Env = append(os.Environ(), childVariable+"="+strconv.FormatUint(d.seed, 10)+" "+d.path)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	d.process = p
	go d.read(p, stdout)
	return nil
}

// read hands replies to who waits for them until the child ends; what it hasn't answered by then is unknown.
func (d *remote) read(p *process, stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			break // a line that was cut off by the child's end
		}
		d.mu.Lock()
		p.open[r.ID] <- r
		delete(p.open, r.ID)
		d.mu.Unlock()
	}
	_ = p.cmd.Wait() // that it was killed is wanted
	d.mu.Lock()
	defer d.mu.Unlock()
	switch code := p.cmd.ProcessState.ExitCode(); code {
	case -1: // by a signal
		d.killed++
	case 0:
	case noFaults:
		d.dead = errNoFaults
	default:
		d.dead = fmt.Errorf("a child ended with status %d", code)
	}
	d.process = nil
	for _, answer := range p.open {
		answer <- reply{Unknown: true}
	}
}

// Apply implements [driver.Driver].
func (d *remote) Apply(_ context.Context, batch []driver.Request) ([]driver.Response, error) {
	d.mu.Lock()
	if d.process == nil && d.dead == nil {
		d.dead = d.start()
	}
	if err := d.dead; err != nil {
		d.mu.Unlock()
		return nil, err
	}
	d.asked++
	answer := make(chan reply, 1)
	d.process.open[d.asked] = answer
	text, err := json.Marshal(question{d.asked, batch[0].Key, batch[0].Ops})
	if err == nil {
		_, _ = d.process.stdin.Write(append(text, '\n')) // a child that can't be asked ends, and so does the wait
	}
	d.mu.Unlock()
	switch r := <-answer; {
	case r.Unknown:
		return nil, driver.ErrUnknownOutcome
	case r.Failed:
		return nil, errors.New("the disk failed")
	default:
		results := make([]bucket.Result, len(r.Statuses))
		for i, s := range r.Statuses {
			results[i].Status = s
		}
		return []driver.Response{{Results: results}}, nil
	}
}

// Close implements [driver.Driver].
func (d *remote) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process != nil {
		return d.process.stdin.Close()
	}
	return nil
}

// Bolt's callers are in one process. Beside what a disk that fails tells them, those of a process that was killed don't
// know the outcome, and who comes after it goes on with the file.
func TestBoltIsLinearizableWhileItsDiskFails(t *testing.T) {
	d := &remote{path: filepath.Join(t.TempDir(), "limits.db"), seed: rand.Uint64() / 2}
	seed, sum, killed, undecided := d.seed, tally{}, 0, 0
	defer d.Close()
	for round := 0; round < *rounds || round < *rounds+manyMore && (sum.Unknown == 0 || sum.Failed == 0 || killed == 0); round++ {
		history := History(t.Context(), times(d, callers), fmt.Sprint(round), 12, seed+uint64(round))
		var err error
		if killed, err = d.state(); errors.Is(err, errNoFaults) && os.Getenv("CI") != "true" {
			t.Skipf("not tried: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		sum.add(history)
		switch Check(history, 10*time.Second) {
		case porcupine.Illegal:
			t.Fatalf("round %d of seed %d: no order of the %d calls explains what they saw", round, seed, len(history))
		case porcupine.Unknown: // too many calls may or may not have happened
			undecided++
		}
	}
	t.Logf("%v; the process was killed %d times; %d histories took too long to check", sum, killed, undecided)
	if undecided > 1+sum.Histories/20 {
		t.Errorf("%d of %d histories took too long to check", undecided, sum.Histories)
	}
	if sum.Unknown == 0 || sum.Failed == 0 || killed == 0 {
		t.Error("no call failed, or had an unknown outcome, or no process was killed: nothing is shown of what happens then")
	}
}
